/** Doing something again and again while the page can be seen. */

/** Resolves after `ms`; rejects with AbortError at the signal. */
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal.addEventListener("abort", stop, { once: true });
  });
}

/**
 * Runs `task` at once and then every `seconds`, never twice at a time and never in a hidden tab.
 * `task` returns false to end. After an error the wait doubles, to a minute at most. Returns { now } to run it early.
 */
export function poll(task, seconds, { signal, onerror }) {
  let now;
  const run = async () => {
    for (let wait = seconds; !signal.aborted;) {
      const early = new Promise((resolve) => (now = resolve)); // before the task: what is asked meanwhile counts
      try {
        if ((await task()) === false) return;
        wait = seconds;
      } catch (error) {
        if (signal.aborted) return;
        onerror(error);
        wait = Math.min(60, 2 * wait);
      }
      await Promise.race([pause(wait * 1000, signal), early]);
      await visible(signal);
    }
  };
  run().catch((error) => signal.aborted || onerror(error));
  return { now: () => now() };
}

/** Resolves when the tab can be seen; never after the signal. */
export function visible(signal) {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true, signal }));
}
