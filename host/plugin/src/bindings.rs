//! The contract as Rust, generated from `wit/`.

#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../../wit",
    inline: "
        package embergate:host;

        world host {
            include embergate:plugin/both-roles-plugin@0.1.0;
            import embergate:plugin/embedder@0.1.0;
        }
    ",
    world: "embergate:host/host",
    imports: { "embergate:plugin/log": trappable, default: async | trappable },
    exports: { default: async },
    ownership: Borrowing { duplicate_if_necessary: true },
});
