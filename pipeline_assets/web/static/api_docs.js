// Shows the API's description; what is tried from here goes out with this session.
"use strict";

addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("api-docs");
  const { description, csrfHeader, csrfToken } = place.dataset;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  dark.addEventListener("change", follow);
  follow();
  // What Swagger UI leaves out for those who do not see the page or use no mouse.
  new MutationObserver(() => {
    for (const box of place.querySelectorAll("textarea:not([aria-label])")) {
      box.setAttribute("aria-label", "Request body");
    }
    for (const example of place.querySelectorAll("pre.microlight:not([tabindex])")) {
      example.tabIndex = 0;
    }
  }).observe(place, { childList: true, subtree: true });
  SwaggerUIBundle({
    url: description,
    domNode: place,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    validatorUrl: null,
    requestInterceptor: (request) => {
      if (csrfToken) request.headers[csrfHeader] = csrfToken;
      return request;
    },
  });
});
