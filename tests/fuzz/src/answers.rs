//! Any bytes at all as a guest's answer: pointers into nowhere, lists without end,
//! texts that are none. The call fails or is answered, and the next one is answered.

use embergate::plugin::{Edit, PluginError};

use crate::image::{Image, process, split};

const TEXT: &str = "kelp é, eelgrass 🌊 and 海.";

pub(crate) fn check_bytes(bytes: &[u8]) {
    check_fair(process(TEXT, bytes).map(|_| ()));
    check_fair(split(TEXT, bytes).map(|_| ()));

    let mut keep = Image::default();
    let answer = keep.room(5);
    let edit = keep.room(4);
    keep.list(answer + 4, edit, 1);
    let next = process(TEXT, keep.bytes()).expect("it is a good answer");
    assert_eq!(next[0].edit, Edit::Keep);
}

/// However an answer is wrong, it is the guest's fault, and the error says so.
fn check_fair(answer: Result<(), PluginError>) {
    match answer {
        Ok(())
        | Err(
            PluginError::Refused { .. }
            | PluginError::Trapped { .. }
            | PluginError::Stopped { .. }
            | PluginError::Contract { .. },
        ) => (),
        Err(error) => panic!("{error}"),
    }
}
