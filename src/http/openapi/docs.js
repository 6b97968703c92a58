// Starts Swagger UI, and puts a login above the operations: it is kept for this tab across reloads, renewed before it
// expires, and sent with every request of "Try it out".
(() => {
  "use strict";
  const API = "/api/v1";
  const KEY = "offers.login";
  const RENEW_BEFORE_MS = 60000;
  const RETRY_MS = 5000;
  const DOCUMENT = "/openapi.json";
  let timer;
  let demoLogins = [];

  const bar = document.createElement("form");
  bar.id = "offers-login";
  bar.style.cssText = "padding: 12px 20px; font: 14px sans-serif; display: flex; gap: 8px; flex-wrap: wrap; align-items: center";

  const kept = () => JSON.parse(sessionStorage.getItem(KEY) || "null");

  async function post(path, body) {
    const answer = await fetch(API + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const said = await answer.json();
    if (!answer.ok) {
      const problem = new Error(said.detail || answer.statusText);
      problem.isRefusal = answer.status < 500;
      throw problem;
    }
    return said;
  }

  function keep(username, tokens) {
    const lifetime = tokens.expires_in * 1000;
    const margin = Math.min(RENEW_BEFORE_MS, lifetime / 2);
    const login = { username, access: tokens.access, refresh: tokens.refresh, renewAt: Date.now() + lifetime - margin };
    sessionStorage.setItem(KEY, JSON.stringify(login));
    use(login);
  }

  function use(login) {
    const schema = { type: "http", scheme: "bearer" };
    window.ui.authActions.authorize({ Bearer: { name: "Bearer", schema, value: login.access } });
    clearTimeout(timer);
    timer = setTimeout(renew, Math.max(0, login.renewAt - Date.now()));
    show(`Logged in as ${login.username}.`, [["Log out", logOut]]);
  }

  async function renew() {
    const login = kept();
    if (!login) return;
    try {
      keep(login.username, await post("/auth/refresh/", { refresh: login.refresh }));
    } catch (problem) {
      if (problem.isRefusal) forget(problem.message);
      else timer = setTimeout(renew, RETRY_MS);
    }
  }

  async function logIn(username, password) {
    try {
      keep(username, await post("/auth/login/", { username, password }));
    } catch (problem) {
      forget(problem.message);
    }
  }

  async function logOut() {
    const login = kept();
    forget("");
    if (login) await post("/auth/logout/", { refresh: login.refresh }).catch(() => {});
  }

  function forget(message) {
    clearTimeout(timer);
    sessionStorage.removeItem(KEY);
    window.ui.authActions.logout(["Bearer"]);
    ask(message);
  }

  function input(name, type) {
    const field = document.createElement("input");
    Object.assign(field, { name, type, placeholder: name, required: true, autocomplete: name === "password" ? "current-password" : "username" });
    return field;
  }

  function button(text, type, click) {
    const made = document.createElement("button");
    Object.assign(made, { textContent: text, type });
    if (click) made.addEventListener("click", click);
    return made;
  }

  function show(message, buttons) {
    const text = document.createElement("span");
    text.textContent = message;
    bar.replaceChildren(text, ...buttons.map(([name, click]) => button(name, "button", click)));
  }

  // The logins of demo data are in the document of ./dev alone.
  function ask(message) {
    const text = document.createElement("span");
    text.textContent = message;
    const demo = demoLogins.map(({ username, password }) =>
      button(`Log in as ${username}`, "button", () => logIn(username, password)),
    );
    bar.replaceChildren(input("username", "text"), input("password", "password"), button("Log in", "submit"), ...demo, text);
  }

  bar.addEventListener("submit", (event) => {
    event.preventDefault();
    logIn(bar.elements.username.value, bar.elements.password.value);
  });

  // Swagger UI fills in the examples of optional parameters, and then sends filters that nobody has asked for.
  function withoutFilledInOptions(specification) {
    const schemas = specification.components.schemas;
    const operations = Object.values(specification.paths).flatMap((item) => Object.values(item));
    for (const parameter of operations.flatMap((operation) => operation.parameters || [])) {
      if (parameter.required || !parameter.schema) continue;
      const named = parameter.schema.$ref && schemas[parameter.schema.$ref.split("/").pop()];
      parameter.schema = { ...(named || parameter.schema) };
      delete parameter.example;
      delete parameter.schema.example;
    }
    return specification;
  }

  function received(answer) {
    if (answer.status === 401 && kept() && !answer.url.includes(`${API}/auth/`)) renew();
    if (!answer.url.endsWith(DOCUMENT) || !answer.ok) return answer;
    const specification = withoutFilledInOptions(JSON.parse(answer.text));
    demoLogins = specification["x-demo-logins"] || [];
    if (!kept()) ask("");
    return Object.assign(answer, { text: JSON.stringify(specification) });
  }

  window.addEventListener("load", () => {
    document.body.prepend(bar);
    window.ui = SwaggerUIBundle({
      url: DOCUMENT,
      dom_id: "#swagger-ui",
      deepLinking: true,
      validatorUrl: "none",
      presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
      plugins: [SwaggerUIBundle.plugins.DownloadUrl],
      layout: "StandaloneLayout",
      responseInterceptor: received,
    });
    const login = kept();
    if (login && login.renewAt > Date.now()) use(login);
    else if (login) renew();
    else ask("");
  });
})();
