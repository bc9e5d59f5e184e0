// y[i, f] = f(x[i]) for functions that LLVM takes from libdevice, of 256 threads a block.
module attributes {gpu.container_module} {
gpu.module @k {
  gpu.func @functions(%x: memref<2048xf32> {llvm.align = 16 : i64, llvm.noalias}, %y: memref<2048x16xf32> {llvm.align = 16 : i64, llvm.noalias}, %n: index) kernel {
    %c256 = arith.constant 256 : index
    %t = gpu.thread_id x
    %b = gpu.block_id x
    %o = arith.muli %b, %c256 : index
    %i = arith.addi %o, %t : index
    %in = arith.cmpi ult, %i, %n : index
    scf.if %in {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %c2 = arith.constant 2 : index
      %c3 = arith.constant 3 : index
      %c4 = arith.constant 4 : index
      %c5 = arith.constant 5 : index
      %c6 = arith.constant 6 : index
      %c7 = arith.constant 7 : index
      %c8 = arith.constant 8 : index
      %c9 = arith.constant 9 : index
      %c10 = arith.constant 10 : index
      %c11 = arith.constant 11 : index
      %c12 = arith.constant 12 : index
      %c13 = arith.constant 13 : index
      %c14 = arith.constant 14 : index
      %c15 = arith.constant 15 : index
      %three = arith.constant 3.0 : f32
      %v = memref.load %x[%i] : memref<2048xf32>
      %p = math.absf %v : f32
      %f0 = math.exp %v : f32
      %f1 = math.log %p : f32
      %f2 = math.tanh %v : f32
      %f3 = math.sin %v : f32
      %f4 = math.cos %v : f32
      %f5 = math.erf %v : f32
      %f6 = math.rsqrt %p : f32
      %f7 = math.sqrt %p : f32
      %f8 = math.powf %p, %three : f32
      %f9 = math.log1p %p : f32
      %f10 = math.exp2 %v : f32
      %f11 = math.floor %v : f32
      %f12 = math.atan2 %v, %three : f32
      %d = arith.extf %v : f32 to f64
      %de = math.exp %d : f64
      %f13 = arith.truncf %de : f64 to f32
      %f14 = math.expm1 %v : f32
      %h = arith.truncf %v : f32 to f16
      %hh = arith.mulf %h, %h : f16
      %f15 = arith.extf %hh : f16 to f32
      memref.store %f0, %y[%i, %c0] : memref<2048x16xf32>
      memref.store %f1, %y[%i, %c1] : memref<2048x16xf32>
      memref.store %f2, %y[%i, %c2] : memref<2048x16xf32>
      memref.store %f3, %y[%i, %c3] : memref<2048x16xf32>
      memref.store %f4, %y[%i, %c4] : memref<2048x16xf32>
      memref.store %f5, %y[%i, %c5] : memref<2048x16xf32>
      memref.store %f6, %y[%i, %c6] : memref<2048x16xf32>
      memref.store %f7, %y[%i, %c7] : memref<2048x16xf32>
      memref.store %f8, %y[%i, %c8] : memref<2048x16xf32>
      memref.store %f9, %y[%i, %c9] : memref<2048x16xf32>
      memref.store %f10, %y[%i, %c10] : memref<2048x16xf32>
      memref.store %f11, %y[%i, %c11] : memref<2048x16xf32>
      memref.store %f12, %y[%i, %c12] : memref<2048x16xf32>
      memref.store %f13, %y[%i, %c13] : memref<2048x16xf32>
      memref.store %f14, %y[%i, %c14] : memref<2048x16xf32>
      memref.store %f15, %y[%i, %c15] : memref<2048x16xf32>
    }
    gpu.return
  }
}
}
