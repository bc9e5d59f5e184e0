// y[r, :] = softmax(x[r, :]) of 64 rows of 512 bf16 values: 128 threads a row, shuffles, then shared memory.
#shared = #gpu.address_space<workgroup>
module attributes {gpu.container_module} {
gpu.module @k {
  gpu.func @softmax(%x: memref<64x512xbf16> {llvm.align = 16 : i64, llvm.noalias}, %y: memref<64x512xbf16> {llvm.align = 16 : i64, llvm.noalias})
      workgroup(%s: memref<8xf32, #shared> {llvm.align = 16 : i64}) kernel attributes {nvvm.reqntid = array<i32: 128, 1, 1>} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c4 = arith.constant 4 : index
    %c32 = arith.constant 32 : index
    %w = arith.constant 32 : i32
    %i1 = arith.constant 1 : i32
    %i16 = arith.constant 16 : i32
    %minus = arith.constant 0xFF800000 : f32
    %zero = arith.constant 0.0 : f32
    %t = gpu.thread_id x
    %b = gpu.block_id x
    %lane = arith.remui %t, %c32 : index
    %warp = arith.divui %t, %c32 : index
    %isFirst = arith.cmpi eq, %lane, %c0 : index
    %col = arith.muli %t, %c4 : index
    %h = vector.load %x[%b, %col] : memref<64x512xbf16>, vector<4xbf16>
    %v = arith.extf %h : vector<4xbf16> to vector<4xf32>
    %m = vector.reduction <maximumf>, %v : vector<4xf32> into f32
    %c5 = arith.constant 5 : index
    %wm:2 = scf.for %i = %c0 to %c5 step %c1 iter_args(%mm = %m, %o = %i16) -> (f32, i32) {
      %q, %p = gpu.shuffle xor %mm, %o, %w : f32
      %n = arith.maximumf %mm, %q : f32
      %o2 = arith.shrui %o, %i1 : i32
      scf.yield %n, %o2 : f32, i32
    }
    scf.if %isFirst {
      memref.store %wm#0, %s[%warp] : memref<8xf32, #shared>
    }
    gpu.barrier
    %bm = scf.for %i = %c0 to %c4 step %c1 iter_args(%mm = %minus) -> (f32) {
      %q = memref.load %s[%i] : memref<8xf32, #shared>
      %n = arith.maximumf %mm, %q : f32
      scf.yield %n : f32
    }
    %bv = vector.broadcast %bm : f32 to vector<4xf32>
    %d = arith.subf %v, %bv : vector<4xf32>
    %e = math.exp %d : vector<4xf32>
    %sum = vector.reduction <add>, %e : vector<4xf32> into f32
    %ws:2 = scf.for %i = %c0 to %c5 step %c1 iter_args(%mm = %sum, %o = %i16) -> (f32, i32) {
      %q, %p = gpu.shuffle xor %mm, %o, %w : f32
      %n = arith.addf %mm, %q : f32
      %o2 = arith.shrui %o, %i1 : i32
      scf.yield %n, %o2 : f32, i32
    }
    %at = arith.addi %warp, %c4 : index
    scf.if %isFirst {
      memref.store %ws#0, %s[%at] : memref<8xf32, #shared>
    }
    gpu.barrier
    %bs = scf.for %i = %c0 to %c4 step %c1 iter_args(%mm = %zero) -> (f32) {
      %i4 = arith.addi %i, %c4 : index
      %q = memref.load %s[%i4] : memref<8xf32, #shared>
      %n = arith.addf %mm, %q : f32
      scf.yield %n : f32
    }
    %sv = vector.broadcast %bs : f32 to vector<4xf32>
    %r = arith.divf %e, %sv : vector<4xf32>
    %rh = arith.truncf %r : vector<4xf32> to vector<4xbf16>
    vector.store %rh, %y[%b, %col] : memref<64x512xbf16>, vector<4xbf16>
    gpu.return
  }
}
}
