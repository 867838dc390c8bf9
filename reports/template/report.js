// paper has no toggles: everything is open while it is printed
let shut = [];
addEventListener("beforeprint", () => {
  shut = [...document.querySelectorAll("details:not([open])")];
  shut.forEach((one) => (one.open = true));
});
addEventListener("afterprint", () => shut.forEach((one) => (one.open = false)));

// a link to a case opens it
const opened = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target && target.tagName === "DETAILS") target.open = true;
};
addEventListener("hashchange", opened);
opened();

const all = document.getElementById("all");
all.hidden = false;
all.addEventListener("click", () => {
  const open = all.getAttribute("aria-pressed") !== "true";
  document.querySelectorAll("details.case").forEach((one) => (one.open = open));
  all.setAttribute("aria-pressed", String(open));
  all.textContent = open ? "Close all cases" : "Open all cases";
});
