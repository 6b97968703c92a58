// Alice buys the cheapest offer and watches what becomes of it.
//
//     ./dev                                                    # in another terminal
//     node docs/examples/buy.mjs [http://127.0.0.1:8080]       # node 20 or newer

import { Client } from './client.mjs'

const url = process.argv[2] ?? 'http://127.0.0.1:8080'
const cents = money => Number(money.replace('.', '')) // good for prices; BigInt for sums without a bound

async function main() {
  const alice = new Client(url)
  await alice.login('alice', 'alice-demo')

  const offers = []
  for await (const offer of alice.list('/offers/?limit=3')) offers.push(offer)
  const [cheapest] = offers.sort((one, other) => cents(one.price) - cents(other.price))

  const key = crypto.randomUUID() // made once for each click on "buy", and kept until the answer is there
  const { transaction_id: id } = await alice.call('POST', '/activation/', { offer_id: cheapest.id }, key)
  const seen = []
  let last
  for await (last of alice.statuses(id)) seen.push(last.status)
  const { balance, currency } = await alice.call('GET', '/account/balance/')
  console.log(`${cheapest.name}: ${seen.join(' → ')}, ${last.reference ?? last.error_message}; ${balance} ${currency} left`)
}

main().catch(error => {
  const cause = error.cause?.code ?? error.cause?.message
  console.error(error instanceof TypeError ? `cannot reach ${url} (${cause}): does ./dev run?` : `${error.code ?? ''} ${error.message}`)
  process.exitCode = 1
})
