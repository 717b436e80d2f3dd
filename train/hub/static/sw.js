// Keeps the page's files, so that it opens without a network from the second visit on. Each file is kept under its digest:
// a new version of the page loads only what has changed, and takes over when the old one is closed or reloaded.

const FILES = {}; // path: SHA-256; filled in when the page is made
const CACHE = 'landmarks';
const LARGE = /^(model|runtime|examples)/; // kept when they are first used; the rest is kept at once

const key = path => `${path}?${FILES[path]}`;

self.addEventListener('install', event => event.waitUntil(install()));
self.addEventListener('activate', event => event.waitUntil(activate()));
self.addEventListener('fetch', event => {
  const path = fileOf(event.request);
  if (path) event.respondWith(answer(path, event));
});
self.addEventListener('message', ({data}) => {
  if (data === 'take over') self.skipWaiting();
});

async function install() {
  const cache = await caches.open(CACHE), kept = (await cache.keys()).map(request => request.url);
  const wasUsed = path => kept.some(url => url.startsWith(new URL(path, self.registration.scope).href));
  await Promise.all(Object.keys(FILES).map(async path => {
    if (LARGE.test(path) && !wasUsed(path) || await cache.match(key(path))) return;
    if (!await keep(path, await fetch(path, {cache: 'no-cache'}))) throw new Error(`${path} isn't this version's.`);
  }));
}

async function activate() {
  const cache = await caches.open(CACHE);
  const wanted = new Set(Object.keys(FILES).map(path => new URL(key(path), self.registration.scope).href));
  await Promise.all((await cache.keys()).map(request => wanted.has(request.url) || cache.delete(request)));
  await self.clients.claim();
}

// The path of a file of the page that is asked for.
function fileOf({method, url}) {
  const {origin, pathname} = new URL(url), scope = new URL(self.registration.scope);
  if (method !== 'GET' || origin !== scope.origin || !pathname.startsWith(scope.pathname)) return undefined;
  const path = pathname.slice(scope.pathname.length) || 'index.html';
  return Object.hasOwn(FILES, path) ? path : undefined;
}

async function answer(path, event) {
  const cache = await caches.open(CACHE), hit = await cache.match(key(path));
  if (hit) return hit;
  const response = await fetch(path, {cache: 'no-cache'});
  if (response.ok) event.waitUntil(keep(path, response.clone()));
  return response;
}

// Keeps a file if it is the one that this version of the page is made of; tells whether it is.
async function keep(path, response) {
  const body = await response.arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', body));
  if (Array.from(digest, byte => byte.toString(16).padStart(2, '0')).join('') !== FILES[path]) return false;
  const headers = new Headers(response.headers); // with those that isolate the page, which its threads need
  headers.delete('Content-Encoding');
  headers.delete('Content-Length');
  await (await caches.open(CACHE)).put(key(path), new Response(body, {headers}));
  return true;
}
