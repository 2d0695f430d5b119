;; Grows its table for as long as it is let, then traps. Well-behaved for two documents.
(module
  (memory (export "memory") 2)

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

  ;; What `process` answers, at 96: to keep as many documents as there are, and no notes.
  (data (i32.const 96) "\00\00\00\00" "\80\00\00\00\00\00\00\00" "\00\00\00\00\00\00\00\00")
  (func $keep (param $documents i32) (result i32)
    (i32.store (i32.const 104) (local.get $documents))
    (i32.const 96))

  (table $table 1 funcref)
  (func (export "embergate:plugin/preprocessor@0.1.0#process")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (param $documents i32) (result i32)
    (if (i32.eq (local.get $documents) (i32.const 1)) (then
      (loop $again
        (br_if $again
          (i32.ne (i32.const -1) (table.grow $table (ref.null func) (i32.const 10000)))))
      unreachable))
    (call $keep (local.get $documents)))

  (func (export "cabi_post_embergate:plugin/preprocessor@0.1.0#process") (param i32)
    (global.set $top (i32.const 4096)))
)
