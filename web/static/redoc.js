// Shows the description of the API with ReDoc.
"use strict";

// They skip two levels.
onceDrawn(document.getElementById("docs"), { "h5:not([aria-level])": setting("aria-level", 3) });

Redoc.init(
  "/openapi.json",
  { nativeScrollbars: true, sortRequiredPropsFirst: true },
  document.getElementById("docs"),
);
