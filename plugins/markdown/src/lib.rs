//! Cuts Markdown along its headings and blocks.
