// c[512, 64] = a[512, 128] * b[64, 128]^T, bf16 to f32: blocks of 64 x 16, four warps of 16 x 16, two buffers of 16 columns.
#shared = #gpu.address_space<workgroup>
module attributes {gpu.container_module} {
gpu.module @k {
  gpu.func @product(%a: memref<512x128xbf16>, %b: memref<64x128xbf16>, %c: memref<512x64xf32>)
      workgroup(%sa: memref<2x64x24xbf16, #shared> {llvm.align = 16 : i64}, %sb: memref<2x16x24xbf16, #shared> {llvm.align = 16 : i64})
      kernel attributes {nvvm.reqntid = array<i32: 128, 1, 1>} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c4 = arith.constant 4 : index
    %c8 = arith.constant 8 : index
    %c16 = arith.constant 16 : index
    %c32 = arith.constant 32 : index
    %c64 = arith.constant 64 : index
    %c128 = arith.constant 128 : index
    %zero = arith.constant dense<0.0> : vector<4xf32>
    %t = gpu.thread_id x
    %bx = gpu.block_id x
    %by = gpu.block_id y
    %m0 = arith.muli %by, %c64 : index
    %n0 = arith.muli %bx, %c16 : index
    %lane = arith.remui %t, %c32 : index
    %warp = arith.divui %t, %c32 : index
    %row = arith.divui %t, %c2 : index
    %odd = arith.remui %t, %c2 : index
    %col = arith.muli %odd, %c8 : index
    %arow = arith.addi %m0, %row : index
    %brow = arith.addi %n0, %row : index
    %first = arith.cmpi ult, %t, %c32 : index
    %wrow = arith.muli %warp, %c16 : index
    %l16 = arith.remui %lane, %c16 : index
    %lhalf = arith.divui %lane, %c16 : index
    %fcol = arith.muli %lhalf, %c8 : index
    %frow = arith.addi %wrow, %l16 : index
    // Lanes 0-7 and 16-23 read rows of the first eight columns of b, the others those of the next eight.
    %l8 = arith.remui %lane, %c8 : index
    %part = arith.divui %lane, %c8 : index
    %bodd = arith.remui %part, %c2 : index
    %bcol = arith.muli %bodd, %c8 : index
    %bhalf = arith.divui %part, %c2 : index
    %bhalf8 = arith.muli %bhalf, %c8 : index
    %frowb = arith.addi %bhalf8, %l8 : index
    %pa = nvgpu.device_async_copy %a[%arow, %col], %sa[%c0, %row, %col], 8 {bypassL1} : memref<512x128xbf16> to memref<2x64x24xbf16, #shared>
    scf.if %first {
      %pb = nvgpu.device_async_copy %b[%brow, %col], %sb[%c0, %row, %col], 8 {bypassL1} : memref<64x128xbf16> to memref<2x16x24xbf16, #shared>
    }
    %g0 = nvgpu.device_async_create_group %pa
    %r:2 = scf.for %k = %c0 to %c128 step %c16 iter_args(%s0 = %zero, %s1 = %zero) -> (vector<4xf32>, vector<4xf32>) {
      %step = arith.divui %k, %c16 : index
      %buffer = arith.remui %step, %c2 : index
      %other = arith.subi %c1, %buffer : index
      %next = arith.addi %k, %c16 : index
      %more = arith.cmpi ult, %next, %c128 : index
      scf.if %more {
        %kcol = arith.addi %next, %col : index
        %qa = nvgpu.device_async_copy %a[%arow, %kcol], %sa[%other, %row, %col], 8 {bypassL1} : memref<512x128xbf16> to memref<2x64x24xbf16, #shared>
        scf.if %first {
          %qb = nvgpu.device_async_copy %b[%brow, %kcol], %sb[%other, %row, %col], 8 {bypassL1} : memref<64x128xbf16> to memref<2x16x24xbf16, #shared>
        }
        %g = nvgpu.device_async_create_group %qa
        nvgpu.device_async_wait %g {numGroups = 1 : i32}
      } else {
        nvvm.cp.async.wait.group 0
      }
      gpu.barrier
      %fa = nvgpu.ldmatrix %sa[%buffer, %frow, %fcol] {numTiles = 4 : i32, transpose = false} : memref<2x64x24xbf16, #shared> -> vector<4x2xbf16>
      %fb = nvgpu.ldmatrix %sb[%buffer, %frowb, %bcol] {numTiles = 4 : i32, transpose = false} : memref<2x16x24xbf16, #shared> -> vector<4x2xbf16>
      %ia = vector.bitcast %fa : vector<4x2xbf16> to vector<4x1xi32>
      %ib = vector.bitcast %fb : vector<4x2xbf16> to vector<4x1xi32>
      %a0 = vector.extract %ia[0, 0] : i32 from vector<4x1xi32>
      %a1 = vector.extract %ia[1, 0] : i32 from vector<4x1xi32>
      %a2 = vector.extract %ia[2, 0] : i32 from vector<4x1xi32>
      %a3 = vector.extract %ia[3, 0] : i32 from vector<4x1xi32>
      %b0 = vector.extract %ib[0, 0] : i32 from vector<4x1xi32>
      %b1 = vector.extract %ib[1, 0] : i32 from vector<4x1xi32>
      %b2 = vector.extract %ib[2, 0] : i32 from vector<4x1xi32>
      %b3 = vector.extract %ib[3, 0] : i32 from vector<4x1xi32>
      %s00 = vector.extract %s0[0] : f32 from vector<4xf32>
      %s01 = vector.extract %s0[1] : f32 from vector<4xf32>
      %s02 = vector.extract %s0[2] : f32 from vector<4xf32>
      %s03 = vector.extract %s0[3] : f32 from vector<4xf32>
      %s10 = vector.extract %s1[0] : f32 from vector<4xf32>
      %s11 = vector.extract %s1[1] : f32 from vector<4xf32>
      %s12 = vector.extract %s1[2] : f32 from vector<4xf32>
      %s13 = vector.extract %s1[3] : f32 from vector<4xf32>
      %d0 = llvm.call_intrinsic "llvm.nvvm.mma.m16n8k16.row.col.bf16"(%a0, %a1, %a2, %a3, %b0, %b1, %s00, %s01, %s02, %s03) : (i32, i32, i32, i32, i32, i32, f32, f32, f32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
      %d1 = llvm.call_intrinsic "llvm.nvvm.mma.m16n8k16.row.col.bf16"(%a0, %a1, %a2, %a3, %b2, %b3, %s10, %s11, %s12, %s13) : (i32, i32, i32, i32, i32, i32, f32, f32, f32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
      %e00 = llvm.extractvalue %d0[0] : !llvm.struct<(f32, f32, f32, f32)>
      %e01 = llvm.extractvalue %d0[1] : !llvm.struct<(f32, f32, f32, f32)>
      %e02 = llvm.extractvalue %d0[2] : !llvm.struct<(f32, f32, f32, f32)>
      %e03 = llvm.extractvalue %d0[3] : !llvm.struct<(f32, f32, f32, f32)>
      %e10 = llvm.extractvalue %d1[0] : !llvm.struct<(f32, f32, f32, f32)>
      %e11 = llvm.extractvalue %d1[1] : !llvm.struct<(f32, f32, f32, f32)>
      %e12 = llvm.extractvalue %d1[2] : !llvm.struct<(f32, f32, f32, f32)>
      %e13 = llvm.extractvalue %d1[3] : !llvm.struct<(f32, f32, f32, f32)>
      %v0 = vector.from_elements %e00, %e01, %e02, %e03 : vector<4xf32>
      %v1 = vector.from_elements %e10, %e11, %e12, %e13 : vector<4xf32>
      gpu.barrier
      scf.yield %v0, %v1 : vector<4xf32>, vector<4xf32>
    }
    %g = arith.divui %lane, %c4 : index
    %p = arith.remui %lane, %c4 : index
    %p2 = arith.muli %p, %c2 : index
    %mw = arith.addi %m0, %wrow : index
    %cr0 = arith.addi %mw, %g : index
    %cr1 = arith.addi %cr0, %c8 : index
    %cc0 = arith.addi %n0, %p2 : index
    %cc1 = arith.addi %cc0, %c8 : index
    %w00 = vector.extract_strided_slice %r#0 {offsets = [0], sizes = [2], strides = [1]} : vector<4xf32> to vector<2xf32>
    %w01 = vector.extract_strided_slice %r#0 {offsets = [2], sizes = [2], strides = [1]} : vector<4xf32> to vector<2xf32>
    %w10 = vector.extract_strided_slice %r#1 {offsets = [0], sizes = [2], strides = [1]} : vector<4xf32> to vector<2xf32>
    %w11 = vector.extract_strided_slice %r#1 {offsets = [2], sizes = [2], strides = [1]} : vector<4xf32> to vector<2xf32>
    vector.store %w00, %c[%cr0, %cc0] : memref<512x64xf32>, vector<2xf32>
    vector.store %w01, %c[%cr1, %cc0] : memref<512x64xf32>, vector<2xf32>
    vector.store %w10, %c[%cr0, %cc1] : memref<512x64xf32>, vector<2xf32>
    vector.store %w11, %c[%cr1, %cc1] : memref<512x64xf32>, vector<2xf32>
    gpu.return
  }
}
}
