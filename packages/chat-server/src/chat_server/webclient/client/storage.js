/**
 * Where a send queue remembers its entries: IndexedDB in a browser, a Map elsewhere and where IndexedDB is barred.
 * `put` resolves with whether the entry is now safe from a reload; it never rejects.
 */

export class MemoryStorage {
  constructor() {
    this.rows = new Map();
  }

  async load(user) {
    return [...this.rows.values()].filter((entry) => entry.user === user).map((entry) => structuredClone(entry));
  }

  async put(entry) {
    this.rows.set(entry.ref, structuredClone(entry));
    return false;
  }

  delete(ref) {
    this.rows.delete(ref);
  }
}

export class IndexedDbStorage {
  #opened;

  /** @param {string} name of the database; one for all users and tabs of the origin */
  constructor(name = "chat-client") {
    this.#opened = new Promise((resolve, reject) => {
      const request = indexedDB.open(name, 1);
      request.onupgradeneeded = () => request.result.createObjectStore("queue", { keyPath: "ref" }).createIndex("user", "user");
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    this.#opened.catch(() => {}); // told to whoever loads; put says no, delete is best effort
  }

  async load(user) {
    const database = await this.#opened;
    return new Promise((resolve, reject) => {
      const request = database.transaction("queue").objectStore("queue").index("user").getAll(user);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  }

  put(entry) {
    const row = structuredClone(entry);
    return this.#write((store) => store.put(row));
  }

  delete(ref) {
    this.#write((store) => store.delete(ref));
  }

  // Transactions on one store run in the order they were made, so a late put cannot outlive its delete. A page that goes
  // away takes its unfinished ones with it: only `complete` says that a row stays.
  async #write(act) {
    try {
      const transaction = (await this.#opened).transaction("queue", "readwrite");
      const done = new Promise((resolve) => {
        transaction.oncomplete = () => resolve(true);
        transaction.onabort = () => resolve(false);
      });
      act(transaction.objectStore("queue"));
      transaction.commit();
      return await done;
    } catch {
      return false;
    }
  }
}

/** IndexedDB where there is one, else memory. */
export function defaultStorage() {
  try {
    if (globalThis.indexedDB) return new IndexedDbStorage();
  } catch {
    // a browser that forbids storage to this page says so by throwing
  }
  return new MemoryStorage();
}
