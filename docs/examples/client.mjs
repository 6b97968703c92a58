// A client of the API without packages, for browsers and for node 20 or newer: it renews its access token, repeats what may be
// repeated, and follows a status as a stream. docs/clients.md says why each line is there.

const ATTEMPTS = 5
const LONGEST_DELAY_MS = 30_000
const STREAM_ENDED = Symbol('the stream ended before the status was final')

/** A refusal: switch on `code`, show `message`. */
export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail ?? `status ${status}`)
    Object.assign(this, { status, code: body?.code, errors: body?.errors ?? [], requestId: body?.request_id })
  }
}

export class Client {
  #url
  #tokens
  #renewal

  /** `url` without `/api/v1`; the empty one is the page's own. */
  constructor(url) {
    this.#url = url
  }

  async login(username, password) {
    this.#tokens = await this.#json('POST', '/api/v1/auth/login/', { username, password })
  }

  /** JSON of the answer. A POST that moves money needs `key`, or it is sent once only. */
  async call(method, path, body, key) {
    const answer = await this.#send(method, `/api/v1${path}`, body, key ? { 'Idempotency-Key': key } : {})
    return answer.status === 204 ? null : answer.json()
  }

  /** Every row of a list, page by page. */
  async *list(path) {
    for (let next = `/api/v1${path}`; next; ) {
      const page = await this.#send('GET', next).then(answer => answer.json())
      yield* page.results
      next = page.next
    }
  }

  /** Every status of a transaction, up to the final one. */
  async *statuses(id) {
    for (let last, attempt = 1; ; attempt++) {
      const headers = { Accept: 'text/event-stream', ...(last && { 'Last-Event-ID': last }) }
      const answer = await this.#send('GET', `/api/v1/activation/status/${id}/`, undefined, headers)
      if (answer.status === 204) return // the final one was seen
      try {
        for await (const event of events(answer.body)) {
          const status = JSON.parse(event.data)
          yield status
          if (['SUCCESS', 'FAILED'].includes(status.status)) return
          last = event.id
          attempt = 1
        }
        throw STREAM_ENDED
      } catch (error) {
        if (!(error === STREAM_ENDED || error instanceof TypeError) || attempt === ATTEMPTS) throw error
        await delay(attempt)
      }
    }
  }

  async #send(method, path, body, headers = {}) {
    const isSafe = method === 'GET' || 'Idempotency-Key' in headers
    for (let attempt = 1; ; attempt++) {
      const used = this.#tokens
      let answer
      try {
        answer = await this.#fetch(method, path, body, { ...headers, Authorization: `Bearer ${used.access}` })
      } catch (error) { // no answer: fetch throws a TypeError
        if (!isSafe || attempt === ATTEMPTS) throw error
        await delay(attempt)
        continue
      }
      if (answer.ok) return answer
      const problem = new Problem(answer.status, await answer.json().catch(() => null))
      if (attempt === ATTEMPTS) throw problem
      if (problem.code === 'token_expired') await this.#renew(used)
      else if (answer.status === 429 || (answer.status === 503 && isSafe)) {
        await delay(attempt, Number(answer.headers.get('Retry-After')))
      } else throw problem
    }
  }

  /** Once, however many requests find their token expired: a refresh token is good for one use. */
  async #renew(used) {
    if (used !== this.#tokens) return
    const { refresh } = used
    const renew = async () => { this.#tokens = await this.#json('POST', '/api/v1/auth/refresh/', { refresh }) }
    this.#renewal ??= renew().finally(() => { this.#renewal = undefined })
    await this.#renewal
  }

  async #json(method, path, body) {
    const answer = await this.#fetch(method, path, body)
    if (!answer.ok) throw new Problem(answer.status, await answer.json().catch(() => null))
    return answer.json()
  }

  #fetch(method, path, body, headers = {}) {
    const typed = body === undefined ? headers : { ...headers, 'Content-Type': 'application/json' }
    return fetch(this.#url + path, { method, headers: typed, body: body && JSON.stringify(body) })
  }
}

/** As long as the service says, else longer each time; never all clients at once. */
function delay(attempt, seconds = 0) {
  const milliseconds = Math.max(seconds * 1000, Math.min(LONGEST_DELAY_MS, 250 * 2 ** attempt))
  return new Promise(done => setTimeout(done, milliseconds * (1 + Math.random() / 4)))
}

/** The events of a text/event-stream, each with its `id` and `data`; comments are left out. */
async function* events(body) {
  let text = ''
  const decoder = new TextDecoder()
  const reader = body.getReader()
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const blocks = (text + decoder.decode(part.value, { stream: true })).split('\n\n')
      text = blocks.pop()
      for (const block of blocks) {
        const event = Object.fromEntries(block.split('\n').map(line => line.split(/: ?(.*)/s, 2)))
        if (event.data) yield event
      }
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}
