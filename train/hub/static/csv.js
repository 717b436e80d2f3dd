// The answers to several photos as a table, with the columns and texts of `Tags.row` in landmark_models/tagging/tags.py.
import {number} from './answer.js';

const BYTE_ORDER_MARK = '\ufeff'; // by which Excel knows UTF-8

// `photos` are {name, verdict, error}; those that aren't answered yet are left out.
export function csv(photos, {columns, verdicts}) {
  const rows = photos.filter(({verdict, error}) => verdict || error).map(photo => row(photo, verdicts));
  const lines = [columns, ...rows.map(cells => columns.map(column => cells[column] ?? ''))];
  return BYTE_ORDER_MARK + lines.map(line => `${line.map(quoted).join(',')}\r\n`).join('');
}

function row({name, verdict, error}, verdicts) {
  if (!verdict) return {path: harmless(name), error: harmless(error)};
  const {best, candidates, known, recognised, contradicted, agrees, km} = verdict;
  const {place, country, annotation, hashtags} = recognised ? best : {};
  const [latitude, longitude] = recognised && best.position ? best.position.map(value => value.toFixed(4)) : [];
  const far = `Looks like ${best.name}, but the photo was taken ${number(km)} km from it`;
  const texts = {
    path: name, name: recognised ? best.name : '', label: best.label, score: candidates[0].score.toFixed(4),
    known: recognised, reason: known ? contradicted ? 'position' : '' : 'model',
    verdict: contradicted ? far : known ? verdicts.known : verdicts.unknown, place, country, wikidata: annotation?.mid,
    hashtags: hashtags?.join(' '), agrees,
  };
  const cells = Object.entries(texts).map(([column, text]) => [column, harmless(String(text ?? ''))]);
  return {...Object.fromEntries(cells), latitude, longitude};
}

// Spreadsheets don't take it for a formula.
const harmless = text => /^[=+\-@\t\r\n]/.test(text) ? `'${text}` : text;

const quoted = text => /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
