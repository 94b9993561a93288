// What Swagger UI and ReDoc leave out for those who hear a page or have no mouse.
"use strict";

// Changes what each selector finds, as soon as it is drawn.
function onceDrawn(place, changes) {
  const change = () => {
    for (const [selector, mend] of Object.entries(changes)) {
      place.querySelectorAll(selector).forEach(mend);
    }
  };
  new MutationObserver(change).observe(place, { childList: true, subtree: true });
}

const setting = (name, value) => (element) => element.setAttribute(name, value);
