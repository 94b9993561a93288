// Shows the description of the API with Swagger UI, which sends its requests to this server only.
"use strict";

onceDrawn(document.getElementById("docs"), {
  ".information-container > section:not([aria-label])": setting("aria-label", "About the API"),
  ".scheme-container > section:not([aria-label])": setting("aria-label", "Where and as whom"),
  // They skip a level after the title.
  ":is(h3, h4, h5, h6):not([aria-level])": (head) => head.setAttribute("aria-level", head.tagName[1] - 1),
  "#servers:not([aria-label])": setting("aria-label", "Server"),
  "input[type=file]:not([aria-label])": setting("aria-label", "The file to send"),
  "table[role=region]:not([aria-label])": (table) => table.setAttribute("aria-label", table.id.replaceAll("_", " ")),
  "pre:not([tabindex])": setting("tabindex", 0), // it may be scrolled
  // The button around it opens the call, and puts it in the address.
  "button a[href]": (link) => link.removeAttribute("href"),
});

// Who is signed in is asked for the token of the page, too.
function addToken(request) {
  const token = document.querySelector('meta[name="csrf-token"]').content;
  if (token) request.headers["X-CSRF-Token"] = token;
  return request;
}

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  requestInterceptor: addToken,
  validatorUrl: null,
});
