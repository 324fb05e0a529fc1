"""Words to copy. `st.code` would do, but for the megabyte and a half of program it brings to colour words."""

import streamlit as st

_HTML = '<div class="words"><pre tabindex="0"></pre><button type="button">Copy</button></div>'
_CSS = """
.words {
  display: flex; gap: 0.5rem; align-items: flex-start; padding: 0.6rem 0.8rem;
  background: var(--st-code-background-color); border-radius: var(--st-base-radius);
}
pre {
  flex: 1; margin: 0.15rem 0; font: 0.85rem var(--st-code-font); color: var(--st-text-color);
  white-space: pre-wrap; overflow-wrap: anywhere;
}
button {
  font: 0.8rem var(--st-font); color: var(--st-text-color); cursor: pointer; padding: 0.15rem 0.6rem;
  background: var(--st-background-color);
  border: 1px solid var(--st-border-color); border-radius: var(--st-base-radius);
}
button:focus-visible { outline: 2px solid var(--st-primary-color); }
"""
# Browsers give a page the clipboard only over https or on their own machine; else the words are marked and copied.
_JS = """
export default function ({ data, parentElement }) {
  const words = parentElement.querySelector("pre"), button = parentElement.querySelector("button")
  const say = (text) => { button.textContent = text }
  words.textContent = data.text
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(data.text)
    } catch {
      getSelection().selectAllChildren(words)
      if (!document.execCommand("copy")) return
    }
    say("Copied")
    setTimeout(() => say("Copy"), 1500)
  }
}
"""
_component = st.components.v2.component("limbeck-copyable", html=_HTML, css=_CSS, js=_JS)


def show(text: str, key: str) -> None:
    """Show a command or code, on one or more lines, with a button that copies it."""
    _component(data={"text": text}, key=key)
