// Light or dark: as the system says, or as was chosen here. Runs before anything is drawn.
(() => {
  const KEY = "peerage-theme";
  const remember = {
    get() { try { return localStorage.getItem(KEY) ?? "system"; } catch { return "system"; } },
    set(name) { try { localStorage.setItem(KEY, name); } catch { /* then until the page is left */ } },
  };
  const apply = (name) => {
    if (name === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
  };
  apply(remember.get());
  document.addEventListener("DOMContentLoaded", () => {
    const choice = document.getElementById("theme");
    choice.value = remember.get();
    choice.addEventListener("change", () => {
      apply(choice.value);
      remember.set(choice.value);
      document.dispatchEvent(new Event("themechange"));
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("themechange")));
  });
})();
