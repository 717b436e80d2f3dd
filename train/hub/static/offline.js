// Has the browser keep the page, so that it opens without a network next time.

// Resolves when what is fetched from now on is kept; also where the browser keeps nothing. `updated` is called with a
// function that changes to a newer version of the page, once there is one.
export async function keepPage(updated) {
  if (!navigator.serviceWorker) return; // not https, or a browser that forbids it
  try {
    const registration = await navigator.serviceWorker.register('sw.js');
    if (navigator.serviceWorker.controller) {
      watch(registration, updated);
    } else if (registration.installing) {
      await installed(registration);
    }
  } catch (error) {
    console.warn(`The page isn't kept: ${error?.message ?? error}`);
  }
}

// The page is under the new worker's control, or that one has failed or waits for pages that another one controls.
function installed(registration) {
  const worker = registration.installing;
  return new Promise(resolve => worker.addEventListener('statechange', () => {
    const waits = worker.state === 'installed' && registration.active;
    if (waits || ['activated', 'redundant'].includes(worker.state)) resolve();
  }));
}

function watch(registration, updated) {
  const offer = worker => updated(() => {
    navigator.serviceWorker.addEventListener('controllerchange', () => location.reload(), {once: true});
    worker.postMessage('take over');
  });
  if (registration.waiting) offer(registration.waiting);
  registration.addEventListener('updatefound', () => {
    const worker = registration.installing;
    worker.addEventListener('statechange', () => { if (worker.state === 'installed') offer(worker); });
  });
}
