// What is said of a photo: the card with the answer, and the files to save. Labels and file names come from strangers, so
// all of it is text, never HTML.

const CONTRADICTION_KM = 50; // from the photo's own position to the landmark
const EARTH_RADIUS_KM = 6371.0088; // mean, IUGG
const LEAST = 0.005, MOST = 0.9949; // of a share that is shown: less would read 0%, and more 100%

// An element with properties and children; a child that is null, false or "" is left out.
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes('-') || name === 'role') made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.flat().filter(child => child !== null && child !== false && child !== ''));
  return made;
}

// What an answer means, given what is known of the landmarks, and the photo's own [latitude, longitude] or null.
export function judged(answer, landmarks, position) {
  const best = landmarks[answer.candidates[0].index];
  const km = position && best.position ? distance(position, best.position) : null;
  const agrees = km === null ? null : km <= CONTRADICTION_KM + best.reach;
  const contradicted = answer.known && agrees === false;
  return {...answer, best, position, km, agrees, contradicted, recognised: answer.known && !contradicted};
}

function distance(here, there) {
  const [[a, b], [c, d]] = [here, there].map(point => point.map(angle => angle * Math.PI / 180));
  const h = Math.sin((c - a) / 2) ** 2 + Math.cos(a) * Math.cos(c) * Math.sin((d - b) / 2) ** 2;
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.min(1, Math.sqrt(h)));
}

// What the photo shows, for somebody who can't see it.
export function altText(verdict) {
  return verdict.recognised ? verdict.best.altText : 'A photo in which no landmark was recognised.';
}

// The card for a photo's verdict; `rank` is the candidate that is looked at, and `look` is called with another one.
export function card(name, verdict, facts, landmarks, rank, look) {
  const chosen = landmarks[verdict.candidates[rank].index];
  return [
    headline(verdict, facts, chosen, rank),
    candidates(verdict, landmarks, rank, look),
    ...details(name, verdict, landmarks, chosen, rank),
  ];
}

function headline(verdict, facts, chosen, rank) {
  const place = chosen.heading && element('p', {className: 'place'}, chosen.heading);
  if (rank) {
    const said = `Candidate ${rank + 1} · ${percent(verdict.candidates[rank].score)}`;
    return element('div', {}, element('h2', {}, chosen.name), place, pill(said));
  }
  if (verdict.contradicted) {
    return element('div', {}, element('h2', {}, 'Not sure'), element('p', {},
      `It looks like ${chosen.name}, but the photo itself says that it was taken ${number(verdict.km)} km from there.`));
  }
  if (!verdict.known) {
    return element('div', {}, element('h2', {}, 'None that I know for sure'), pill(facts.verdicts.unknown),
      element('p', {}, 'If it is one of them after all, it is most likely among these:'));
  }
  return element('div', {}, element('h2', {}, chosen.name), place, pill(facts.verdicts.known));
}

const pill = text => element('p', {className: 'verdict'}, text);

function candidates(verdict, landmarks, rank, look) {
  const shown = verdict.candidates.filter(({score}, i) => i < 2 || score >= LEAST);
  return element('ol', {className: 'candidates', 'aria-label': 'Candidates: choose one to look at it'},
    shown.map(({index, score}, i) => {
      const bar = element('span', {className: 'bar', 'aria-hidden': 'true'});
      bar.style.setProperty('--share', score);
      return element('li', {}, element('button', {type: 'button', 'aria-pressed': i === rank, onclick: () => look(i)},
        element('span', {}, landmarks[index].name), element('span', {className: 'share'}, percent(score)), bar));
    }));
}

function details(name, verdict, landmarks, chosen, rank) {
  const tagged = verdict.recognised && !rank, tags = chosen.hashtags.join(' ');
  const kilometres = number(verdict.km, 1);
  return [
    !rank && !verdict.known && element('p', {}, 'What helps: the whole building, from outside, by day, upright.'),
    (rank || verdict.recognised) && chosen.about && element('p', {}, chosen.about),
    tagged && verdict.km !== null &&
      element('p', {className: 'hint'}, `The photo's own position agrees: ${kilometres} km from it.`),
    tagged && element('p', {className: 'tags'}, tags),
    element('div', {className: 'actions'},
      (rank || verdict.recognised) && chosen.map && element('a',
        {className: 'action', href: chosen.map, target: '_blank', rel: 'noopener noreferrer'}, 'Map ↗'),
      tagged && copier('Copy the tags', tags),
      tagged && copier('Copy the alt text', chosen.altText),
      tagged && saver(name, verdict, landmarks)),
  ].filter(Boolean);
}

function copier(label, text) {
  const button = element('button', {type: 'button', className: 'action'}, label);
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = 'Copied';
    } catch { // not https, or somebody else's iframe
      const field = element('input', {readOnly: true, value: text, 'aria-label': 'Select and copy'});
      field.onblur = () => field.remove();
      button.after(field);
      field.select();
    }
    setTimeout(() => { button.textContent = label; }, 1200);
  };
  return button;
}

function saver(name, verdict, landmarks) {
  const {xmp, xmpWithPosition} = verdict.best;
  const menu = element('details', {className: 'menu'}, element('summary', {className: 'action'}, 'Save'), element('div', {},
    file('XMP', `${name}.xmp`, 'application/rdf+xml', () => xmp),
    xmpWithPosition && !verdict.position &&
      file('XMP with position', `${name}.xmp`, 'application/rdf+xml', () => xmpWithPosition),
    file('JSON', `${name}.json`, 'application/json', () => JSON.stringify(annotations(verdict, landmarks), null, 1))));
  menu.onkeydown = event => {
    if (event.key !== 'Escape') return;
    menu.open = false;
    menu.firstChild.focus();
  };
  return menu;
}

// A link that saves a file; its content and address are made when it is clicked.
export function file(label, name, type, content) {
  const link = element('a', {href: '#', download: name}, label);
  link.onclick = () => {
    link.href = URL.createObjectURL(new Blob([content()], {type}));
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  };
  return link;
}

// The answer in the format of Google Cloud Vision's `landmarkAnnotations`.
function annotations({candidates}, landmarks) {
  return {landmarkAnnotations: candidates.map(({index, score}) => {
    const {mid, description, locations} = landmarks[index].annotation;
    return {mid, description, score, locations};
  })};
}

const percent = share => share < LEAST ? '<1%' : `${Math.round(100 * Math.min(share, MOST))}%`;
export const number = (value, digits = 0) => value?.toLocaleString('en', {maximumFractionDigits: digits});
