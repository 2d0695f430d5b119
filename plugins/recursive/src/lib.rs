//! Cuts text at the largest boundary that fits.
