// Buttons that copy a field: <button data-copy="id of the field" hidden>.
for (const button of document.querySelectorAll("[data-copy]")) {
  const field = document.getElementById(button.dataset.copy);
  button.hidden = false;
  button.addEventListener("click", async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      document.execCommand("copy"); // the clipboard is closed to pages without TLS
    }
    button.lastElementChild.textContent = "Copied";
  });
}
