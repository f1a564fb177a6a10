// What the pages do better with a script; without it they all work. No dependency, no inline handlers.
"use strict";

// The server shows local times beside UTC when it knows the browser's time zone.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
if (zone && !document.cookie.includes(`offtake-zone=${zone}`)) {
  document.cookie = `offtake-zone=${zone}; path=/; max-age=31536000; samesite=lax`;
}

// Not `element.dataset` and the like: a form's fields with such names would stand in for them.
const option = (element, name) => element.getAttribute(`data-${name}`);

// On a phone, the rail scrolls: the link of this page is in sight.
document.querySelector(".rail nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// Copy buttons.
const showCopyButtons = (root) => root.querySelectorAll("[data-copy], [data-insert]").forEach((one) => { one.hidden = false; });
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    if (button.classList.contains("copied")) return;
    button.classList.add("copied");
    const label = button.querySelector(".hidden");
    const before = label.textContent;
    label.textContent = "Copied";
    label.classList.remove("hidden");
    setTimeout(() => { label.textContent = before; label.classList.add("hidden"); button.classList.remove("copied"); }, 1500);
  } catch { /* The browser refused: the text can still be selected. */ }
});

// Menus and confirmations close with Escape, and when something else is clicked.
const closable = "details.switcher[open], details.confirm[open]";
document.addEventListener("click", (event) => {
  document.querySelectorAll(closable).forEach((one) => { if (!one.contains(event.target)) one.open = false; });
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    document.querySelectorAll(closable).forEach((one) => { one.open = false; one.querySelector("summary").focus(); });
  }
  // "/" goes to the page's search field.
  if (event.key === "/" && !event.target.closest("input, textarea, select")) {
    const search = document.querySelector("input[type=search]");
    if (search) { event.preventDefault(); search.focus(); search.select(); }
  }
});

// A form is sent once, however often its button is pressed; a page from the history can send it again.
const sent = new WeakSet();
document.addEventListener("submit", (event) => {
  const form = event.target, button = event.submitter;
  const method = button?.getAttribute("formmethod") || form.getAttribute("method");
  if (event.defaultPrevented || method !== "post") return;
  if (sent.has(form)) { event.preventDefault(); return; }
  sent.add(form);
  setTimeout(() => form.querySelectorAll("button:not([type=button])").forEach((one) => { one.disabled = true; }));
});
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  document.querySelectorAll("form").forEach((form) => {
    sent.delete(form);
    form.querySelectorAll("button").forEach((one) => { one.disabled = false; });
  });
});

// Replaces parts of the page with the same parts of another version of it. Scripts in it do not run.
const replaceParts = (text, selector) => {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  document.querySelectorAll(selector).forEach((old) => {
    const part = fresh.getElementById(old.id);
    if (part && part.outerHTML !== old.outerHTML && !old.contains(document.activeElement)) {
      old.replaceWith(document.adoptNode(part));
      showCopyButtons(part);
    }
  });
};
const delayed = (act, milliseconds) => {
  let timer;
  return (...values) => { clearTimeout(timer); timer = setTimeout(() => act(...values), milliseconds); };
};

// data-search: a GET form that filters the list `data-search="#id"` as one types; the URL stays the state.
document.querySelectorAll("form[data-search]").forEach((form) => {
  let running;
  const update = delayed(async () => {
    running?.abort();
    running = new AbortController();
    const url = new URL(form.getAttribute("action"), location.href);
    for (const [name, value] of new FormData(form)) if (value) url.searchParams.append(name, value);
    try {
      const answer = await fetch(url, { signal: running.signal, headers: { "X-Requested-With": "search" } });
      if (!answer.ok) return;
      replaceParts(await answer.text(), option(form, "search"));
      history.replaceState(null, "", url);
    } catch { /* A newer search is on, or the server is away: pressing Enter shows that. */ }
  }, 150);
  // Not on the form: its fields may be elsewhere on the page.
  document.addEventListener("input", (event) => { if (event.target.form === form) update(); });
});

// data-check="URL": as one leaves a field, the server checks the form and the field shows its problem.
const showProblem = (field, text) => {
  const problem = field.querySelector(".problem");
  const input = field.querySelector("input, select, textarea");
  if (!problem || !input) return;
  problem.hidden = !text;
  problem.querySelector("span").textContent = text;
  field.classList.toggle("has-problem", Boolean(text));
  if (text) { input.setAttribute("aria-invalid", "true"); input.setAttribute("aria-describedby", problem.id); }
  else { input.removeAttribute("aria-invalid"); }
};
document.querySelectorAll("form[data-check]").forEach((form) => {
  form.noValidate = true;
  form.addEventListener("focusout", async (event) => {
    const field = event.target.closest("[data-field]");
    if (!field || !event.target.name || event.target.type === "checkbox") return;
    try {
      const answer = await fetch(option(form, "check"), {
        method: "POST", body: new URLSearchParams(new FormData(form)), headers: { "X-Requested-With": "check" },
      });
      if (!answer.ok) return;
      const problems = await answer.json();
      const text = problems[field.dataset.field] || "";
      showProblem(field, event.target.value || field.classList.contains("has-problem") ? text : "");
    } catch { /* The server is away: sending the form shows that. */ }
  });
});

// A field that is corrected is not marked any more; sending the form checks it again.
document.addEventListener("input", (event) => {
  const field = event.target.closest(".has-problem[data-field]");
  if (!field) return;
  showProblem(field, "");
  if (!document.querySelector(".has-problem")) document.getElementById("problems")?.setAttribute("hidden", "");
});

// data-preview="URL": the element with the id of data-into shows what the form would give, as one types.
document.querySelectorAll("form[data-preview]").forEach((form) => {
  let running;
  const update = delayed(async () => {
    running?.abort();
    running = new AbortController();
    const body = new URLSearchParams(new FormData(form));
    form.querySelectorAll("input[type=password]").forEach((one) => body.delete(one.name));
    try {
      const answer = await fetch(option(form, "preview"), {
        method: "POST", body, signal: running.signal, headers: { "X-Requested-With": "preview" },
      });
      if (answer.ok) replaceParts(await answer.text(), option(form, "into"));
    } catch { /* A newer preview is on. */ }
  }, 120);
  form.addEventListener("input", update);
  form.addEventListener("change", update);
});

// data-reload: choosing one of these shows the page for it.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-reload]")) event.target.form.requestSubmit(event.target.form.querySelector("button[name=step][hidden]") || undefined);
});

// data-insert: macro buttons put their text at the caret of the input with the id of data-target.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-insert]");
  if (!button) return;
  const input = document.getElementById(button.dataset.target);
  const at = input.dataset.visited ? input.selectionStart : input.value.length;
  input.setRangeText(button.dataset.insert, at, input.dataset.visited ? input.selectionEnd : at, "end");
  input.dataset.visited = "yes";
  input.focus();
  input.dispatchEvent(new Event("input", { bubbles: true }));
});
document.addEventListener("focusin", (event) => { if (event.target.matches("input")) event.target.dataset.visited = "yes"; });

// data-live="URL": the page's parts with data-part are replaced when the server says that they changed.
const live = document.querySelector("[data-live]");
if (live) {
  let source, failures = 0, timer;
  const load = () => reloadParts();
  const open = () => {
    source = new EventSource(live.dataset.live);
    source.addEventListener("progress", (event) => {
      failures = 0;
      for (const [name, value] of Object.entries(JSON.parse(event.data))) {
        document.querySelectorAll(`[data-value="${name}"]`).forEach((one) => {
          if (one.tagName === "PROGRESS") one.value = value; else if (value !== "") one.textContent = value;
        });
      }
    });
    source.addEventListener("change", () => { failures = 0; load().catch(() => {}); });
    source.addEventListener("end", () => { source.close(); source = null; load().catch(() => {}); });
    source.addEventListener("error", () => {
      // The browser does not reconnect after an answer that is not a stream.
      if (source && source.readyState === EventSource.CLOSED) {
        failures += 1;
        timer = setTimeout(() => { load().catch(() => {}); open(); }, Math.min(30000, 1000 * 2 ** failures));
      }
    });
  };
  const close = () => { clearTimeout(timer); source?.close(); source = null; };
  // A hidden page needs no stream: browsers allow few per server.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close(); else if (!source) { load().catch(() => {}); open(); }
  });
  addEventListener("pagehide", close);
  if (!document.hidden) open();
}

// data-poll="SECONDS": parts of the page that change by themselves are looked up again, as long as they say so.
const reloadParts = async () => {
  const answer = await fetch(location.href, { headers: { "X-Requested-With": "live" } });
  if (answer.status === 401) location.reload();
  else if (answer.ok) replaceParts(await answer.text(), "[data-part]");
};
const poll = () => {
  const waits = [...document.querySelectorAll("[data-poll]")].map((one) => Number(option(one, "poll")));
  if (!waits.length) return;
  setTimeout(async () => {
    try { if (!document.hidden) await reloadParts(); } catch { /* The server is away: the next time shows that. */ }
    poll();
  }, 1000 * Math.min(...waits) * (0.9 + 0.2 * Math.random()));
};
poll();

// data-load="URL": a part that takes long to make is loaded after the page; the part around it is replaced.
const loadLate = async (part) => {
  part.classList.add("loading");
  try {
    const answer = await fetch(new URL(option(part, "load"), location.href), { headers: { "X-Requested-With": "load" } });
    if (!answer.ok) throw new Error();
    replaceParts(await answer.text(), `#${part.parentElement.id}`);
  } catch { part.classList.remove("loading"); }
};
document.querySelectorAll("[data-load]").forEach(loadLate);

// data-upload: files can be dropped in, the upload shows how far it is and can be cancelled.
const sizeOf = (bytes) => {
  const unit = Math.min(4, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return `${(bytes / 1000 ** unit).toFixed(unit ? 1 : 0)} ${["B", "kB", "MB", "GB", "TB"][unit]}`;
};
document.querySelectorAll("form[data-upload]").forEach((form) => {
  const input = form.querySelector("input[type=file]"), drop = form.querySelector(".drop");
  const chosen = form.querySelector(".chosen"), area = form.querySelector(".uploading");
  const bar = area.querySelector("progress"), words = area.querySelector("[role=status]");
  const buttons = form.querySelectorAll("button:not([type=button])");
  const show = () => {
    chosen.replaceChildren(...[...input.files].slice(0, 20).map((file) => {
      const line = document.createElement("li");
      [file.name, sizeOf(file.size)].forEach((text) => {
        const span = document.createElement("span");
        span.textContent = text;
        span.dir = "auto";
        line.append(span);
      });
      return line;
    }));
    chosen.hidden = !input.files.length;
    showProblem(input.closest(".field"), "");
  };
  input.addEventListener("change", show);
  let depth = 0;
  const over = (change) => { depth = Math.max(0, depth + change); drop.classList.toggle("over", depth > 0); };
  document.addEventListener("dragenter", () => over(1));
  document.addEventListener("dragleave", () => over(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(-depth);
    if (event.dataTransfer?.files.length && !input.disabled) { input.files = event.dataTransfer.files; show(); }
  });
  let request;
  const finish = (problem) => {
    area.hidden = true;
    input.disabled = false;
    buttons.forEach((one) => { one.disabled = false; });
    showProblem(input.closest(".field"), problem);
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const body = new FormData(form), started = performance.now();
    request = new XMLHttpRequest();
    request.open("POST", form.getAttribute("action"));
    request.setRequestHeader("X-Requested-With", "upload");
    request.upload.addEventListener("progress", (at) => {
      bar.value = at.total ? at.loaded / at.total : 0;
      const rate = at.loaded / Math.max(1, performance.now() - started) * 1000;
      words.textContent = at.loaded < at.total ? `${sizeOf(at.loaded)} of ${sizeOf(at.total)}, ${sizeOf(rate)} a second` : "Storing the file…";
    });
    request.addEventListener("load", () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* Not from the page's own handler. */ }
      if (answer.next) { location.assign(answer.next); return; }
      finish(answer.problem || (request.status === 401 ? "Your session has ended. Sign in again." : "The server refused the upload. Reload the page, then try again."));
    });
    request.addEventListener("error", () => finish("The connection was lost. Nothing was imported. Try again."));
    request.addEventListener("abort", () => finish(""));
    bar.value = 0;
    area.hidden = false;
    input.disabled = true;
    buttons.forEach((one) => { one.disabled = true; });
    request.send(body);
  });
  form.querySelector("[data-cancel]").addEventListener("click", () => request?.abort());
  addEventListener("pageshow", (event) => { if (event.persisted) finish(""); });
});

// A row of a chart is one tab stop; arrow keys move along it.
document.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const row = step && event.target.closest("[data-row]");
  if (!row) return;
  const links = [...row.querySelectorAll("a")];
  const next = links[links.indexOf(event.target.closest("a")) + step];
  if (next) { event.preventDefault(); next.focus(); }
});

// data-into="#id": a button that sends its form and shows that part of the answer, without leaving the page: what was
// typed stays, secrets too. Without a script, the whole page is the answer.
document.addEventListener("submit", async (event) => {
  const button = event.submitter;
  if (!button?.dataset.into) return;
  event.preventDefault();
  const form = event.target, body = new URLSearchParams(new FormData(form, button));
  const before = String(new URLSearchParams(new FormData(form)));
  button.disabled = true;
  try {
    const answer = await fetch(form.getAttribute("action"), { method: "POST", body, headers: { "X-Requested-With": "part" } });
    if (answer.status === 401) { location.reload(); return; }
    const text = await answer.text();
    if (button.hasAttribute("data-part-only")) {
      // What was typed meanwhile counts: the part is asked for again.
      if (String(new URLSearchParams(new FormData(form))) === before) replaceParts(text, button.dataset.into);
      else setTimeout(() => button.click());
      return;
    }
    const fresh = new DOMParser().parseFromString(text, "text/html");
    form.querySelectorAll("[data-field]").forEach((field) => {
      const problem = fresh.getElementById(`problem-${field.dataset.field}`);
      showProblem(field, problem && !problem.hidden ? problem.textContent.trim() : "");
    });
    replaceParts(text, button.dataset.into);
    form.querySelector(".has-problem input, .has-problem textarea, .has-problem select")?.focus();
  } catch { /* The server is away: saving the form shows that. */ } finally { button.disabled = false; }
}, true);

// data-presses="#button": typing into a search field presses that button; Enter presses it too, not the form's first one.
document.querySelectorAll("input[data-presses]").forEach((input) => {
  const press = () => document.querySelector(option(input, "presses"))?.click();
  input.addEventListener("input", delayed(press, 150));
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); press(); } });
});

showCopyButtons(document);
