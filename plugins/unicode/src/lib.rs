//! Normalises characters: composed forms, line ends, and no invisible marks.
