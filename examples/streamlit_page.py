"""A Streamlit page that shows a brand's figures only while they may be used.

    PIPELINE_URL=http://127.0.0.1:8400 PIPELINE_TOKEN=pa_… streamlit run streamlit_page.py

The token is made with `pipeline-assets tokens create streamlit --role embed`. Streamlit is not
among this project's dependencies: install it, and `requests`, where the page runs.
"""

import os

import streamlit as st

from pipeline_assets.client import ReadinessClient


@st.cache_resource
def pipeline() -> ReadinessClient:
    """One client for all visitors: it remembers the last answers and so asks cheaply."""
    return ReadinessClient(os.environ["PIPELINE_URL"], os.environ["PIPELINE_TOKEN"])


SHOW = {"ok": st.success, "info": st.info, "warning": st.warning, "error": st.error}


def literally(text: str) -> str:
    """The text without a meaning in Markdown, which Streamlit renders: parts come from outside."""
    return "".join(f"\\{sign}" if sign in r"\`*_{}[]()<>#+-.!|~$:" else sign for sign in text)


st.title("Ad performance")
brand = st.selectbox("Brand", ["acme", "globex", "initech"])

readiness = pipeline().readiness(brand, "ad_performance")
for line in readiness.lines:
    SHOW[line.kind](literally(line.text))

# `withhold`: no figure is better than one from eleven days ago. `unknown`: nobody can tell.
if not readiness.is_usable:
    st.stop()

st.write(f"Here come the figures of {brand}.")
