// The list of texts.

function element(name, className, ...children) {
  const made = document.createElement(name);
  made.className = className;
  made.append(...children);
  return made;
}

const percent = (share) => `${Math.round(100 * share)} %`;

function body({ result }) {
  if (!result) return [element("p", "alternatives", "recognising …")];
  if (result.error) return [element("p", "alternatives", result.error)];
  const meter = element("meter", "");
  meter.value = result.confidence;
  meter.title = "Probability that the text is right";
  const characters = result.characters.map(({ symbol, confidence }) => {
    const unsure = confidence < 0.8 ? " unsure" : "";
    return element("span", `character${unsure}`, symbol, element("small", "", percent(confidence)));
  });
  const others = result.alternatives.map(({ text }) => element("b", "", text || "(nothing)"));
  const parts = [meter, element("div", "characters", ...characters)];
  if (others.length > 0) {
    const list = others.flatMap((other, index) => (index > 0 ? [", ", other] : [other]));
    parts.push(element("p", "alternatives", "or ", ...list));
  }
  return parts;
}

/** Shows the regions' results; `choose` and `remove` are called with a region. */
export function showCards(list, regions, chosen, { choose, remove }) {
  const cards = regions.map((region) => {
    const { result } = region;
    const text = result?.text ?? "";
    const removal = element("button", "remove", "✕");
    removal.type = "button";
    removal.setAttribute("aria-label", `Remove ${text}`);
    removal.onclick = (event) => {
      event.stopPropagation();
      remove(region);
    };
    const line = element(
      "div",
      "line",
      element("span", "text", text || (result && !result.error ? "(no text)" : "")),
      element("span", "confidence", result?.confidence === undefined ? "" : percent(result.confidence)),
      removal,
    );
    const card = element("li", region === chosen ? "card chosen" : "card", line, ...body(region));
    card.onclick = () => choose(region);
    return card;
  });
  list.replaceChildren(...cards.reverse());
}
