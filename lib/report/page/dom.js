// dom.js - making elements.

// h("td.right", {title}, child, ...): children are elements, text, or lists of these; null is skipped.
function make(namespace, spec, attributes, children) {
  const [tag, ...classes] = spec.split(".");
  const element = namespace ? document.createElementNS(namespace, tag) : document.createElement(tag);
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function")
      element.addEventListener(name, value);
    else
      element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity))
    if (child !== null && child !== undefined && child !== false) element.append(child);
  return element;
}
const h = (spec, attributes, ...children) => make(null, spec, attributes, children);
const svg = (spec, attributes, ...children) => make("http://www.w3.org/2000/svg", spec, attributes, children);

// Calls `action` once per frame however often the result is called.
function oncePerFrame(action) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      action();
    });
  };
}

// A word that must occur in a text, ignoring case; several words must all occur.
function matcher(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  return (text) => words.every((word) => text.includes(word));
}
