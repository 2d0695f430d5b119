//! What can go wrong with a call that asks for embeddings.

/// What goes wrong with a call that asks for embeddings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status and this body.
    Answer(u16, String),
    /// One vector fewer than texts.
    Short,
    /// One vector more than texts.
    Long,
    /// The vectors of the texts in the opposite order, each with its right index
    /// where the protocol has one.
    Reversed,
    /// The same index for all vectors, where the protocol has one.
    SameIndex,
    /// `NaN` as a number, as some servers write it.
    Nan,
    /// All zeros.
    Zero,
    /// Vectors of this many dimensions.
    Dimensions(usize),
    /// The connection ends without an answer.
    Cut,
    /// The head of a good answer and half of its body, and then the connection ends.
    Half,
    /// No answer ever comes.
    Hang,
}

impl Fault {
    /// Ollama's answer when the runner of a model crashed.
    pub fn crash() -> Self {
        let body = r#"{"error":"do embedding request: Post \"http://127.0.0.1:4242/v1/embeddings\": EOF"}"#;
        Self::Answer(400, body.to_owned())
    }

    /// Ollama's answer when too many calls wait for a model to be loaded.
    pub fn busy() -> Self {
        let body = r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#;
        Self::Answer(503, body.to_owned())
    }

    /// Ollama's answer when a vector has no numbers in it, which blames a text.
    pub fn refused_nan() -> Self {
        Self::Answer(400, r#"{"error":"embedding contains NaN or Inf values"}"#.to_owned())
    }

    /// A failure of the server's own.
    pub fn internal() -> Self {
        Self::Answer(500, r#"{"error":"llama runner process has terminated"}"#.to_owned())
    }

    /// The answer of something that is no embeddings server.
    pub fn html() -> Self {
        Self::Answer(200, "<html><body>Welcome to nginx!</body></html>".to_owned())
    }
}
