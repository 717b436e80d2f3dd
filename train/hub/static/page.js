// The page: takes photos, has them answered one after another, and shows the answer to the chosen one.
import {altText, card, element, file, judged, number} from './answer.js';
import {csv} from './csv.js';
import {keepPage} from './offline.js';
import {photoPosition} from './position.js';
import {refusal, unreadable} from './refusals.js';

const $ = selector => document.querySelector(selector);
const photos = []; // {id, file, url, button, verdict, error}
const waiting = new Map(); // by id: what takes the worker's answer
let facts, landmarks, worker, chosen, ready, count = 0;
let queue = Promise.resolve(); // photos are answered one after another

// ---- photos come

function take(files) {
  const added = [...files].map(file => ({id: count++, file, name: file.name || 'photo'}));
  if (!added.length) return;
  photos.push(...added);
  for (const photo of added) photo.button = tile(photo);
  $('#strip').append(...added.map(photo => element('li', {}, photo.button)));
  $('#several').hidden = photos.length < 2;
  $('#strip').scrollLeft = added[0].button.offsetLeft;
  choose(added[0]);
  summarise();
  for (const photo of added) queue = queue.then(() => answered(photo));
}

// The page is as it was before the first photo.
function clear() {
  for (const {url} of photos.splice(0)) if (url) URL.revokeObjectURL(url);
  chosen = null;
  for (const part of [$('#strip'), $('#answer')]) part.replaceChildren();
  $('#shown').removeAttribute('src');
  $('#shown').hidden = $('#several').hidden = true;
  $('#photo').classList.add('empty');
  document.body.classList.remove('asked');
  $('#choose').focus();
}

async function answered(photo) {
  if (!photos.includes(photo)) return; // cleared meanwhile
  photo.error = await refusal(photo);
  if (!photo.error) {
    try {
      await ready;
    } catch {
      return; // the page says so
    }
    const [{answer, thumbnail, error}, position] = await Promise.all([ask(photo), photoPosition(photo.file)]);
    if (answer) Object.assign(photo, {verdict: judged(answer, landmarks, position), thumbnail});
    else photo.error = error ? `${photo.name}: ${error}` : await unreadable(photo);
  }
  label(photo);
  summarise();
  if (photo === chosen) show();
}

function ask({id, file}) {
  return new Promise(resolve => {
    waiting.set(id, resolve);
    worker.postMessage({id, file});
  });
}

// ---- photos are shown

function choose(photo) {
  chosen = photo;
  photo.url ??= URL.createObjectURL(photo.file);
  for (const other of photos) {
    other.button.setAttribute('aria-pressed', other === photo);
    if (other !== photo && other.url) {
      URL.revokeObjectURL(other.url);
      delete other.url;
    }
  }
  show();
}

function show(rank = 0) {
  const {url, name, verdict, error} = chosen, image = $('#shown');
  if (image.src !== url) image.src = url;
  image.hidden = Boolean(error);
  image.alt = verdict ? altText(verdict) : 'Your photo';
  $('#photo').classList.toggle('empty', Boolean(error));
  document.body.classList.add('asked');
  const look = index => {
    show(index);
    $(`.candidates li:nth-child(${index + 1}) button`).focus();
  };
  const open = $('#answer');
  if (error) open.replaceChildren(element('div', {role: 'alert'}, element('h2', {}, "This photo can't be read"),
    element('p', {}, error)));
  else if (verdict) open.replaceChildren(...card(name, verdict, facts, landmarks, rank, look));
  else open.replaceChildren(element('p', {className: 'hint'}, 'Looking …'));
}

// A photo in the strip: its name until there is a picture, and what was found.
function tile(photo) {
  const button = element('button', {type: 'button', 'aria-pressed': false, title: photo.name},
    element('span', {className: 'file'}, photo.name), element('span', {}, '…'));
  button.onclick = () => choose(photo);
  return button;
}

function label({button, verdict, thumbnail, error, name}) {
  const [file, caption] = button.children;
  caption.textContent = error ? "Can't be read" : verdict.recognised ? verdict.best.name : 'Not recognised';
  if (!thumbnail) return;
  const canvas = element('canvas', {'aria-hidden': 'true', width: thumbnail.width, height: thumbnail.height});
  canvas.getContext('2d').drawImage(thumbnail, 0, 0);
  thumbnail.close();
  file.replaceWith(canvas);
  button.setAttribute('aria-label', `${caption.textContent}: ${name}`);
}

function summarise() {
  const count = kind => photos.filter(kind).length, named = count(({verdict}) => verdict?.recognised);
  const others = [
    [count(({verdict}) => verdict && !verdict.recognised), 'not recognised'],
    [count(({error}) => error), "can't be read"],
  ].filter(([n]) => n).map(([n, what]) => `, ${n} ${what}`);
  $('#summary').textContent = `${named} of ${photos.length} named${others.join('')}`;
}

// ---- what is known

function listKnown() {
  const rows = landmarks.map(({name, heading, label, map}) => ({
    searched: plain(`${name} ${label} ${heading}`),
    row: element('li', {}, map ? element('a', {href: map, target: '_blank', rel: 'noopener noreferrer'}, name) : name,
      heading && element('span', {className: 'hint'}, ` ${heading}`)),
    name,
  })).sort((one, other) => one.name.localeCompare(other.name));
  $('#known ul').append(...rows.map(({row}) => row));
  $('#known input').oninput = ({target}) => {
    for (const {row, searched} of rows) row.hidden = !searched.includes(plain(target.value));
  };
}

const plain = text => text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();

function describe() {
  const count = number(landmarks.length);
  $('#intro').textContent = `One of ${count} landmarks, named on your own device. No photo leaves it.`;
  $('#known summary').textContent = `The ${count} landmarks`;
  $('#trust').append(...facts.about.trust ? [element('strong', {}, 'How far to trust it.'), ` ${facts.about.trust}`] : []);
  const {paragraphs, card} = facts.about;
  $('#about div').append(...paragraphs.map(text => element('p', {}, text)), card &&
    element('p', {}, element('a', {href: card, target: '_blank', rel: 'noopener noreferrer'}, 'The model on Hugging Face ↗')));
  $('#examples ul').append(...facts.examples.map(({path, caption}) => {
    const button = element('button', {type: 'button'}, element('img', {src: path, alt: '', loading: 'lazy'}),
      element('span', {}, caption));
    button.onclick = async () => {
      const content = await (await fetch(path)).blob();
      take([new File([content], path.split('/').pop(), {type: content.type})]);
    };
    return element('li', {}, button);
  }));
  const table = file('Save all as CSV', 'landmarks.csv', 'text/csv', () => csv(photos, facts));
  table.className = 'action';
  $('#clear').before(table);
  $('#examples').hidden = !facts.examples.length;
}

// ---- it begins

function listen() {
  for (const input of [$('#choose'), $('#take')]) {
    input.onchange = () => {
      take(input.files);
      input.value = '';
    };
  }
  $('#photo').onclick = ({currentTarget}) => { if (currentTarget.matches('.empty')) $('#choose').click(); };
  $('#clear').onclick = clear;
  document.addEventListener('paste', event => take([...event.clipboardData.files]));
  document.addEventListener('dragover', event => {
    event.preventDefault();
    $('#photo').classList.add('over');
  });
  document.addEventListener('dragleave', event => event.relatedTarget || $('#photo').classList.remove('over'));
  document.addEventListener('drop', event => {
    event.preventDefault();
    $('#photo').classList.remove('over');
    take(event.dataTransfer.files);
  });
  document.addEventListener('click', ({target}) => {
    for (const menu of document.querySelectorAll('details.menu[open]')) if (!menu.contains(target)) menu.open = false;
  });
}

function start() {
  worker = new Worker('worker.js', {type: 'module'});
  return new Promise((resolve, reject) => {
    worker.onerror = event => reject(new Error(event.message || "The browser doesn't start it."));
    worker.onmessage = ({data}) => {
      if (data.total) progress(data);
      else if (data.ready) resolve(data.ready);
      else if (data.failed) reject(new Error(data.failed));
      else {
        waiting.get(data.id)(data);
        waiting.delete(data.id);
      }
    };
    worker.postMessage({start: facts});
  });
}

function progress({loaded, total}) {
  $('#loading progress').value = loaded / total;
  $('#loading span').textContent = `${number(loaded / 1e6)} of ${number(total / 1e6)} MB`;
}

async function begin() {
  await keepPage(change => {
    $('#update').hidden = false;
    $('#update button').onclick = change;
  });
  const response = await fetch('page.json');
  if (!response.ok) throw new Error(`page.json isn't there (${response.status}).`);
  facts = await response.json();
  landmarks = facts.landmarks;
  describe();
  listKnown();
  const engine = await start();
  document.body.dataset.engine = engine;
  $('#loading').hidden = true;
}

listen();
ready = begin();
ready.catch(error => {
  $('#loading').replaceChildren(
    element('p', {role: 'alert'}, `The model can't be loaded: ${error.message} Reload the page to try again.`));
});
