// The first of the browser's languages that the page has, else English, is the only one that gradio sees. Otherwise its
// texts could be in a language in which the page's own aren't. What gradio has in English only is translated as it comes,
// but not what comes from visitors or models, such as a file that is called "logo".
texts => {
  const language = navigator.languages.map(code => code.split('-')[0]).find(code => Object.hasOwn(texts, code)) ?? 'en';
  Object.defineProperties(navigator, {language: {value: language}, languages: {value: [language]}});
  document.documentElement.lang = language;
  // Where nothing may be stored, as in somebody else's iframe, what is kept lasts as long as the page.
  try {
    window.localStorage;
  } catch {
    const kept = new Map();
    const value = {
      getItem: key => kept.get(key) ?? null, setItem: (key, text) => kept.set(key, text), removeItem: key => kept.delete(key),
    };
    Object.defineProperty(window, 'localStorage', {value});
  }
  if (language === 'en') return;
  const attributes = ['aria-label', 'title', 'placeholder', 'alt'];
  const others = '.prose, .filename, .gallery-item, .candidates button, [role=gridcell], .sizing-body, [translate=no]';
  const translation = (english, element) => {
    if (!Object.hasOwn(texts[language], english) || element?.closest(others)) return undefined;
    const text = texts[language][english];
    return text === english ? undefined : text; // to write it once more would be a change, too
  };
  const translate = node => {
    if (node.nodeType === Node.TEXT_NODE) {
      const text = translation(node.data.trim(), node.parentElement);
      if (text) node.data = text;
    } else if (node.nodeType === Node.ELEMENT_NODE) {
      for (const name of attributes) {
        const text = translation(node.getAttribute(name), node);
        if (text) node.setAttribute(name, text);
      }
    }
  };
  new MutationObserver(records => {
    for (const {type, target, addedNodes} of records) {
      if (type !== 'childList') translate(target);
      for (const node of addedNodes) {
        const nodes = document.createTreeWalker(node);
        do translate(nodes.currentNode); while (nodes.nextNode());
      }
    }
  }).observe(document, {subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: attributes});
}
