// The live socket: receives what changed of this page's fragments. New texts and attributes are put in their places; where
// more has changed, the fragment is morphed in, without touching focus, open dialogs, menus or what is being typed. After a
// gap it starts afresh; a page that has no fragments of its own is fetched again.

const NOT_SIGNED_IN = 4401;
const NO_ROLE = 4403;
const STALE_AFTER = 3500;
const LONGEST_SILENCE = 20000;
const LONGEST_PAUSE = 15000;
const QUIET_MINUTE = 60000;
const MOST_MISFITS = 2;

const MORPH = {
  morphStyle: "outerHTML",
  ignoreActiveValue: true,
  callbacks: {
    beforeAttributeUpdated: (name, node) =>
      !(name === "open" && node.matches("details, dialog")) && !(name === "checked" && node.matches(".pick")),
  },
};

export function startLive({ afterChange }) {
  const status = document.getElementById("live-status");
  return status ? new Live(status, afterChange) : null;
}

class Live {
  constructor(status, afterChange) {
    this.status = status;
    [this.words, this.age] = status.firstElementChild.children;
    this.afterChange = afterChange;
    this.pageRevision = Number(status.dataset.revision);
    this.revision = null;
    this.heardAt = this.openedAt = Date.now();
    this.failures = 0;
    this.misfits = 0;
    this.misfitAt = 0;
    this.connect();
    setInterval(() => this.watch(), 1000);
    addEventListener("online", () => this.reconnectNow());
    document.addEventListener("visibilitychange", () => document.hidden || this.reconnectNow());
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const query = this.misfits >= MOST_MISFITS ? "?whole" : "";
    this.socket = new WebSocket(`${scheme}://${location.host}/live/${this.status.dataset.socket}/${query}`);
    this.socket.onopen = () => (this.openedAt = Date.now());
    this.socket.onmessage = ({ data }) => this.receive(JSON.parse(data));
    this.socket.onclose = ({ code }) => this.closed(code);
  }

  closed(code) {
    this.revision = null;
    if (code === NOT_SIGNED_IN || code === NO_ROLE) {
      location.reload(); // to the login page, or to what the new role may see
      return;
    }
    this.failures += 1;
    const pause = Math.min(LONGEST_PAUSE, 500 * 2 ** Math.min(this.failures, 6)) * (0.5 + Math.random() / 2);
    this.say("lost", "reconnecting", this.silence());
    this.timer = setTimeout(() => this.connect(), pause);
  }

  reconnectNow() {
    if (this.socket.readyState !== WebSocket.CLOSED) return;
    clearTimeout(this.timer);
    this.connect();
  }

  receive({ revision, after, topics, fragments, patches, lists }) {
    const isFirst = after === null;
    const hasGap = !isFirst && after !== this.revision;
    const isOld = isFirst && this.isOld(revision);
    this.revision = revision;
    this.heardAt = Date.now();
    if (this.heardAt - this.misfitAt > QUIET_MINUTE) this.misfits = 0;
    this.failures = this.misfits;
    this.say("live", "live · 1 s");
    for (const [id, html] of Object.entries(fragments)) this.replace(id, html);
    for (const [id, children] of Object.entries(lists)) this.arrange(id, children, fragments);
    const fit = Object.entries(patches).map(([id, patch]) => patched(document.getElementById(id), patch));
    if (hasGap || fit.includes(false)) this.startAfresh();
    else if (isOld) this.refetch();
    else this.refetchWhere(topics);
    this.afterChange(topics);
  }

  // Fragments bring themselves up to date; a page that fetches itself may have missed something before the socket opened.
  isOld(revision) {
    const old = revision !== this.pageRevision;
    this.pageRevision = revision;
    return old && document.querySelector("[data-live-on]") !== null;
  }

  // Something is missing, or a patch did not fit: a new socket begins with everything. It waits longer each time, and where
  // something else keeps changing the page, asks for whole fragments; after a quiet minute that is forgotten.
  startAfresh() {
    this.misfits += 1;
    this.misfitAt = Date.now();
    this.socket.close();
  }

  replace(id, html) {
    const element = document.getElementById(id);
    if (element) morph(element, html);
  }

  arrange(id, children, fragments) {
    const list = document.getElementById(id);
    if (!list) return;
    for (const child of [...list.children]) if (!children.includes(child.id)) child.remove();
    children.forEach((childId, place) => {
      const child = document.getElementById(childId) ?? parsed(fragments[childId]);
      if (child && list.children[place] !== child) list.insertBefore(child, list.children[place] ?? null);
      if (child) htmx.process(child);
    });
  }

  refetchWhere(topics) {
    const wanted = [...document.querySelectorAll("[data-live-on]")].some((element) =>
      element.dataset.liveOn.split(" ").some((topic) => topics.includes(topic) || topics.includes("any")),
    );
    if (wanted) this.refetch();
  }

  // At most one fetch at a time, and one more for what happened meanwhile.
  async refetch() {
    if (this.fetching) {
      this.again = true;
      return;
    }
    this.fetching = true;
    try {
      const answer = await fetch(location.href, { headers: { "X-Berth-Live": "1" }, redirect: "error" });
      if (answer.ok) this.adopt(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // the socket's own reconnecting says that the panel is away
    } finally {
      await new Promise((resolve) => setTimeout(resolve, 400));
      this.fetching = false;
      if (this.again) {
        this.again = false;
        this.refetch();
      }
    }
  }

  // What the socket feeds is left to it once it has begun: its patches fit what it has sent before.
  adopt(page) {
    const stale = this.revision === null ? "[data-live-on], [data-live]" : "[data-live-on]";
    for (const element of document.querySelectorAll(stale)) {
      const fresh = element.id && page.getElementById(element.id);
      if (fresh) morph(element, fresh.outerHTML);
    }
    this.afterChange([]);
  }

  // After a click: the socket brings the rest, unless it is away.
  catchUp() {
    if (this.socket.readyState !== WebSocket.OPEN) this.refetch();
  }

  watch() {
    const silence = this.silence();
    if (this.status.dataset.state === "lost") this.say("lost", "reconnecting", silence);
    else if (silence > STALE_AFTER) this.say("stale", "stale", silence);
    const isDeaf = Math.min(silence, Date.now() - this.openedAt) > LONGEST_SILENCE;
    if (isDeaf && this.socket.readyState === WebSocket.OPEN) this.socket.close();
  }

  silence() {
    return Date.now() - this.heardAt;
  }

  // The words are read out when they change; for how long it has been so is counted beside them.
  say(state, words, silence = 0) {
    if (this.status.dataset.state !== state) this.status.dataset.state = state;
    if (this.words.textContent !== words) this.words.textContent = words;
    this.age.textContent = silence >= 1000 ? ` for ${lasting(silence / 1000)}` : "";
  }
}

function lasting(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

function morph(element, html) {
  const fresh = parsed(html);
  if (!fresh || fresh.isEqualNode(element)) return;
  for (const changed of Idiomorph.morph(element, fresh, MORPH)) htmx.process(changed);
}

// Sets texts and attributes by their number in the fragment; false where the fragment is not what the panel takes it for.
function patched(fragment, { size, texts, attributes }) {
  if (!fragment) return true;
  const elements = [fragment, ...fragment.querySelectorAll("*")];
  const walker = document.createTreeWalker(fragment, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  if (elements.length !== size[0] || nodes.length !== size[1]) return false;
  for (const [place, text] of texts) nodes[place].data = text;
  for (const [place, name, value] of attributes) elements[place].setAttribute(name, value);
  return true;
}

function parsed(html) {
  const template = document.createElement("template");
  template.innerHTML = html ?? "";
  return template.content.firstElementChild;
}
