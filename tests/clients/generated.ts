// Alice buys, with the client that openapi-typescript and openapi-fetch make of our document: see generated.py.

import createClient, { type Middleware } from 'openapi-fetch'
import type { components, paths } from './api.js'

declare const process: { argv: string[]; exitCode: number }

type Status = components['schemas']['Status']

const [, , url, offerId] = process.argv
// Without the second parameter a status may be the text of an event stream, too.
const api = createClient<paths, 'application/json' | 'application/problem+json'>({ baseUrl: url })

function expect<T>(what: string, { data, error }: { data?: T; error?: components['schemas']['Problem'] }): T {
  if (data === undefined) throw new Error(`${what}: ${error?.code}: ${error?.detail}`)
  return data
}

async function login(username: string, password: string): Promise<Middleware> {
  const tokens = expect('login', await api.POST('/api/v1/auth/login/', { body: { username, password } }))
  return {
    onRequest({ request }) {
      request.headers.set('Authorization', `${tokens.token_type} ${tokens.access}`)
      return request
    },
  }
}

async function buy(offer_id: string): Promise<Status> {
  const header = { 'Idempotency-Key': crypto.randomUUID() }
  const send = () => api.POST('/api/v1/activation/', { params: { header }, body: { offer_id } })
  const [first, again] = [expect('buy', await send()), await send()]
  if (expect('repeat', again).transaction_id !== first.transaction_id) throw new Error('bought twice')
  if (again.response.headers.get('Idempotent-Replayed') !== 'true') throw new Error('not said to be a repeat')
  const path = { id: first.transaction_id }
  const status = await api.GET('/api/v1/activation/status/{id}/', { params: { path, header: { Prefer: 'wait=30' } } })
  return expect('status', status).status
}

async function main(): Promise<void> {
  api.use(await login('alice', 'alice-demo'))
  const status = await buy(offerId)
  const { balance, currency } = expect('balance', await api.GET('/api/v1/account/balance/'))
  const query = { status, limit: 1 }
  const { results } = expect('list', await api.GET('/api/v1/account/transactions/', { params: { query } }))
  const [bought] = results
  if (bought?.offer.id !== offerId) throw new Error('the newest transaction is another')
  const statement = expect('statement', await api.GET('/api/v1/account/statement/', { params: { query: { limit: 2 } } }))
  const kinds = statement.results.map(({ kind }) => kind).join()
  if (kinds !== 'charge,hold' || statement.results[0]?.balance !== balance) throw new Error(`the statement has ${kinds}`)
  const refused = await api.POST('/api/v1/activation/', { body: { offer_id: crypto.randomUUID() } })
  if (refused.error?.code !== 'offer_not_found') throw new Error(`refused with ${refused.error?.code}`)
  console.log(`${bought.offer.name}: ${status} for ${bought.amount}, ${balance} ${currency} left`)
}

await main()
