// The first of the browser's languages that the page has, else English, is the only one that gradio sees. Otherwise its
// texts could be in a language in which the page's own aren't.
languages => {
  const known = navigator.languages.map(code => code.split('-')[0]).find(code => languages.includes(code)) ?? 'en';
  Object.defineProperties(navigator, {language: {value: known}, languages: {value: [known]}});
  document.documentElement.lang = known;
}
