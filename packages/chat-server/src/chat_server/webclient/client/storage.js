/** Where a send queue remembers its entries: IndexedDB in a browser, a Map elsewhere and where IndexedDB is barred. */

export class MemoryStorage {
  constructor() {
    this.rows = new Map();
  }

  async load(user) {
    return [...this.rows.values()].filter((entry) => entry.user === user).map((entry) => structuredClone(entry));
  }

  put(entry) {
    this.rows.set(entry.ref, structuredClone(entry));
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
    this.#opened.catch(() => {}); // told to whoever loads; put and delete are best effort
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
    this.#write((store) => store.put(row));
  }

  delete(ref) {
    this.#write((store) => store.delete(ref));
  }

  // Transactions on one store run in the order they were made, so a late put cannot outlive its delete.
  #write(act) {
    this.#opened.then((database) => act(database.transaction("queue", "readwrite").objectStore("queue"))).catch(() => {});
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
