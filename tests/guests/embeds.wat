;; A chunker that has its first document embedded until it is told no, and answers with that error.
(module
  (import "embergate:plugin/embedder@0.1.0" "embed-spans"
    (func $embed (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 4)

  ;; What `start` answers, at 16: itself, by name and version.
  (data (i32.const 16)
    "\00\00\00\00" "\40\00\00\00\07\00\00\00" "\48\00\00\00\05\00\00\00" "\50\00\00\00\04\00\00\00")
  (data (i32.const 64) "written\00" "6.6.6\00\00\00" "bad.")
  (func (export "embergate:plugin/lifecycle@0.1.0#start") (param i32 i32) (result i32)
    (i32.const 16))

  ;; Memory for arguments: never freed, but begun anew with each call.
  (global $top (mut i32) (i32.const 4096))
  (func $allocate (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $at) (local.get 3)))
    (local.get $at))

  ;; The span, at 256; what `embed-spans` answers, at 264. An error has the same layout there as in `split`.
  (func (export "embergate:plugin/chunker@0.1.0#split")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (param $documents i32) (param i32) (result i32)
    (i32.store (i32.const 260) (i32.load offset=20 (local.get $documents)))
    (loop $again
      (global.set $top (i32.const 0x18000))
      (call $embed (i32.const 0) (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 264))
      (br_if $again (i32.eqz (i32.load8_u (i32.const 264)))))
    (i32.const 264))
)
