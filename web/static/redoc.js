// Shows the description of the API with ReDoc.
"use strict";

Redoc.init(
  "/openapi.json",
  { nativeScrollbars: true, sortRequiredPropsFirst: true },
  document.getElementById("docs"),
);
