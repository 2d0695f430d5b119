//! Takes the text out of web pages.
