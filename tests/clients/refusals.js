// Refused requests over a pool of one kept connection, as node's own client sends them: see refusals.py.
'use strict'
const http = require('node:http')

const [url, cases] = [process.argv[2], JSON.parse(process.argv[3])]
const STALL_MS = 11000 // a body may take 10 s
const FORMS = [100, 60000, 3000000].flatMap(size => [[size, 0], [size, 10]])
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })

function send(method, path, headers, size, pauseMs) {
  return new Promise((resolve, reject) => {
    const request = http.request(url + path, {
      agent, method, headers: { ...headers, ...(size ? { 'Content-Length': size } : {}) }, timeout: 20000,
    })
    request.on('response', answer => {
      answer.resume()
      answer.on('end', () => resolve(answer.statusCode))
      answer.on('error', reject)
    })
    request.on('error', reject)
    request.on('timeout', () => request.destroy(new Error('timeout')))
    if (!size) request.end()
    else {
      request.flushHeaders()
      const half = pauseMs === STALL_MS ? size / 2 : 0
      if (half) request.write(Buffer.alloc(half, ' '))
      setTimeout(() => request.end(Buffer.alloc(size - half, ' ')), pauseMs)
    }
  })
}

async function main() {
  let [count, broken] = [0, 0]
  for (const [name, method, path, headers, status] of cases) {
    for (const [size, pauseMs] of status === 408 ? [[100, STALL_MS]] : FORMS) {
      count++
      try {
        const answered = await send(method, path, headers, size, pauseMs)
        const next = await send('GET', '/livez', {}, 0, 0)
        if (answered !== status || next !== 200) throw new Error(`answered ${answered}, then ${next}`)
      } catch (error) {
        broken++
        console.log(`node: ${name}, ${size} bytes, pause ${pauseMs} ms: ${error}`)
      }
    }
  }
  console.log(`node: ${count} requests`)
  agent.destroy()
  process.exitCode = broken ? 1 : 0
}

main()
