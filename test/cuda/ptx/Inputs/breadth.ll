; Operations that LLVM writes in many ways, for what PTX of them is known: not run.
target triple = "nvptx64-nvidia-cuda"
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare float @llvm.fma.f32(float, float, float)
declare double @llvm.fma.f64(double, double, double)
declare half @llvm.fma.f16(half, half, half)
declare <2 x half> @llvm.fma.v2f16(<2 x half>, <2 x half>, <2 x half>)
declare bfloat @llvm.fma.bf16(bfloat, bfloat, bfloat)
declare <2 x bfloat> @llvm.fma.v2bf16(<2 x bfloat>, <2 x bfloat>, <2 x bfloat>)
declare float @llvm.minnum.f32(float, float)
declare float @llvm.maximum.f32(float, float)
declare float @llvm.minimum.f32(float, float)
declare half @llvm.maximum.f16(half, half)
declare bfloat @llvm.maxnum.bf16(bfloat, bfloat)
declare double @llvm.maxnum.f64(double, double)
declare float @llvm.floor.f32(float)
declare float @llvm.ceil.f32(float)
declare float @llvm.trunc.f32(float)
declare float @llvm.rint.f32(float)
declare float @llvm.nearbyint.f32(float)
declare float @llvm.roundeven.f32(float)
declare float @llvm.round.f32(float)
declare double @llvm.floor.f64(double)
declare float @llvm.sqrt.f32(float)
declare double @llvm.sqrt.f64(double)
declare float @llvm.fabs.f32(float)
declare half @llvm.fabs.f16(half)
declare float @llvm.copysign.f32(float, float)
declare i32 @llvm.ctlz.i32(i32, i1)
declare i64 @llvm.ctlz.i64(i64, i1)
declare i32 @llvm.cttz.i32(i32, i1)
declare i32 @llvm.ctpop.i32(i32)
declare i32 @llvm.bitreverse.i32(i32)
declare i64 @llvm.bitreverse.i64(i64)
declare i32 @llvm.bswap.i32(i32)
declare i32 @llvm.fshl.i32(i32, i32, i32)
declare i32 @llvm.fshr.i32(i32, i32, i32)
declare i64 @llvm.fshl.i64(i64, i64, i64)
declare i32 @llvm.sadd.sat.i32(i32, i32)
declare i32 @llvm.usub.sat.i32(i32, i32)
declare {i32, i1} @llvm.umul.with.overflow.i32(i32, i32)
declare {i64, i1} @llvm.sadd.with.overflow.i64(i64, i64)
declare i32 @llvm.smax.i32(i32, i32)
declare i64 @llvm.umin.i64(i64, i64)
declare i16 @llvm.smin.i16(i16, i16)
declare i32 @llvm.abs.i32(i32, i1)
declare i32 @llvm.fptosi.sat.i32.f32(float)
declare float @llvm.nvvm.ex2.approx.ftz.f(float)
declare float @llvm.nvvm.lg2.approx.f(float)
declare float @llvm.nvvm.sin.approx.f(float)
declare float @llvm.nvvm.rcp.approx.ftz.f(float)
declare float @llvm.nvvm.rsqrt.approx.ftz.f(float)
declare float @llvm.nvvm.add.rm.f(float, float)
declare i32 @llvm.nvvm.f2i.rn.ftz(float)
declare void @llvm.nvvm.barrier0()
declare void @llvm.nvvm.barrier.sync(i32)
declare void @llvm.nvvm.barrier.sync.cnt(i32, i32)
declare void @llvm.nvvm.bar.warp.sync(i32)
declare void @llvm.nvvm.membar.gl()
declare i32 @llvm.nvvm.shfl.sync.idx.i32(i32, i32, i32, i32)
declare {i32, i1} @llvm.nvvm.shfl.sync.down.i32p(i32, i32, i32, i32)
declare i32 @llvm.nvvm.vote.ballot.sync(i32, i1)
declare i1 @llvm.nvvm.vote.all.sync(i32, i1)
declare i32 @llvm.nvvm.activemask()

@s = internal addrspace(3) global [256 x float] undef, align 16
@c = internal addrspace(4) constant [3 x i64] [i64 1, i64 2, i64 -3]

define void @floats(ptr addrspace(1) %p, float %a, float %b, double %d, half %h, bfloat %g, <2 x half> %h2, <2 x bfloat> %g2, i32 %i, i64 %l, i16 %w, i8 %y) {
  %f1 = call float @llvm.fma.f32(float %a, float %b, float %a)
  store volatile float %f1, ptr addrspace(1) %p
  %f2 = call float @llvm.minnum.f32(float %a, float %b)
  store volatile float %f2, ptr addrspace(1) %p
  %f3 = call float @llvm.maximum.f32(float %a, float %b)
  store volatile float %f3, ptr addrspace(1) %p
  %f4 = call float @llvm.minimum.f32(float %a, float %b)
  store volatile float %f4, ptr addrspace(1) %p
  %f5 = call float @llvm.floor.f32(float %a)
  store volatile float %f5, ptr addrspace(1) %p
  %f6 = call float @llvm.ceil.f32(float %a)
  store volatile float %f6, ptr addrspace(1) %p
  %f7 = call float @llvm.trunc.f32(float %a)
  store volatile float %f7, ptr addrspace(1) %p
  %f8 = call float @llvm.rint.f32(float %a)
  store volatile float %f8, ptr addrspace(1) %p
  %f9 = call float @llvm.nearbyint.f32(float %a)
  store volatile float %f9, ptr addrspace(1) %p
  %f10 = call float @llvm.roundeven.f32(float %a)
  store volatile float %f10, ptr addrspace(1) %p
  %f11 = call float @llvm.round.f32(float %a)
  store volatile float %f11, ptr addrspace(1) %p
  %f12 = call float @llvm.sqrt.f32(float %a)
  store volatile float %f12, ptr addrspace(1) %p
  %f13 = call float @llvm.fabs.f32(float %a)
  store volatile float %f13, ptr addrspace(1) %p
  %f14 = call float @llvm.copysign.f32(float %a, float %b)
  store volatile float %f14, ptr addrspace(1) %p
  %f15 = fdiv float %a, %b
  store volatile float %f15, ptr addrspace(1) %p
  %f17 = fneg float %a
  store volatile float %f17, ptr addrspace(1) %p
  %f18 = call float @llvm.nvvm.ex2.approx.ftz.f(float %a)
  store volatile float %f18, ptr addrspace(1) %p
  %f19 = call float @llvm.nvvm.lg2.approx.f(float %a)
  store volatile float %f19, ptr addrspace(1) %p
  %f20 = call float @llvm.nvvm.sin.approx.f(float %a)
  store volatile float %f20, ptr addrspace(1) %p
  %f21 = call float @llvm.nvvm.rsqrt.approx.ftz.f(float %a)
  store volatile float %f21, ptr addrspace(1) %p
  %f22 = call float @llvm.nvvm.add.rm.f(float %a, float %b)
  store volatile float %f22, ptr addrspace(1) %p
  %f23 = fdiv fast float %a, %b
  store volatile float %f23, ptr addrspace(1) %p
  %f24 = call float @llvm.nvvm.rcp.approx.ftz.f(float %a)
  store volatile float %f24, ptr addrspace(1) %p
  %d1 = call double @llvm.fma.f64(double %d, double %d, double %d)
  store volatile double %d1, ptr addrspace(1) %p
  %d2 = call double @llvm.maxnum.f64(double %d, double 1.5)
  store volatile double %d2, ptr addrspace(1) %p
  %d3 = call double @llvm.floor.f64(double %d)
  store volatile double %d3, ptr addrspace(1) %p
  %d4 = call double @llvm.sqrt.f64(double %d)
  store volatile double %d4, ptr addrspace(1) %p
  %d5 = fdiv double %d, %d1
  store volatile double %d5, ptr addrspace(1) %p
  %h1 = call half @llvm.fma.f16(half %h, half %h, half %h)
  store volatile half %h1, ptr addrspace(1) %p
  %h3 = call half @llvm.maximum.f16(half %h, half %h1)
  store volatile half %h3, ptr addrspace(1) %p
  %h4 = call half @llvm.fabs.f16(half %h)
  store volatile half %h4, ptr addrspace(1) %p
  %h5 = fdiv half %h, %h1
  store volatile half %h5, ptr addrspace(1) %p
  %h6 = fsub half %h, %h1
  store volatile half %h6, ptr addrspace(1) %p
  %h7 = fcmp olt half %h, %h1
  %h8 = select i1 %h7, half %h, half %h5
  store volatile half %h8, ptr addrspace(1) %p
  %v1 = call <2 x half> @llvm.fma.v2f16(<2 x half> %h2, <2 x half> %h2, <2 x half> %h2)
  store volatile <2 x half> %v1, ptr addrspace(1) %p
  %v2 = fadd <2 x half> %h2, %v1
  store volatile <2 x half> %v2, ptr addrspace(1) %p
  %v3 = fmul <2 x half> %h2, %v2
  store volatile <2 x half> %v3, ptr addrspace(1) %p
  %v4 = fpext <2 x half> %v3 to <2 x float>
  store volatile <2 x float> %v4, ptr addrspace(1) %p
  %g1 = call bfloat @llvm.fma.bf16(bfloat %g, bfloat %g, bfloat %g)
  store volatile bfloat %g1, ptr addrspace(1) %p
  %g3 = fadd bfloat %g, %g1
  store volatile bfloat %g3, ptr addrspace(1) %p
  %g4 = fmul bfloat %g, %g1
  store volatile bfloat %g4, ptr addrspace(1) %p
  %g5 = call bfloat @llvm.maxnum.bf16(bfloat %g, bfloat %g1)
  store volatile bfloat %g5, ptr addrspace(1) %p
  %g6 = fpext bfloat %g to float
  store volatile float %g6, ptr addrspace(1) %p
  %g7 = fptrunc float %a to bfloat
  store volatile bfloat %g7, ptr addrspace(1) %p
  %g8 = fptrunc double %d to bfloat
  store volatile bfloat %g8, ptr addrspace(1) %p
  %g9 = sitofp i32 %i to bfloat
  store volatile bfloat %g9, ptr addrspace(1) %p
  %g10 = fptosi bfloat %g to i32
  store volatile i32 %g10, ptr addrspace(1) %p
  %g11 = fcmp ogt bfloat %g, %g1
  %g12 = select i1 %g11, bfloat %g, bfloat %g3
  store volatile bfloat %g12, ptr addrspace(1) %p
  %w1 = call <2 x bfloat> @llvm.fma.v2bf16(<2 x bfloat> %g2, <2 x bfloat> %g2, <2 x bfloat> %g2)
  store volatile <2 x bfloat> %w1, ptr addrspace(1) %p
  %w2 = fadd <2 x bfloat> %g2, %w1
  store volatile <2 x bfloat> %w2, ptr addrspace(1) %p
  %w3 = fneg <2 x bfloat> %w2
  store volatile <2 x bfloat> %w3, ptr addrspace(1) %p
  %w4 = fpext <2 x bfloat> %w3 to <2 x float>
  store volatile <2 x float> %w4, ptr addrspace(1) %p
  %w5 = fptrunc <2 x float> %w4 to <2 x bfloat>
  store volatile <2 x bfloat> %w5, ptr addrspace(1) %p
  %x1 = fptosi float %a to i64
  store volatile i64 %x1, ptr addrspace(1) %p
  %x2 = fptoui float %a to i32
  store volatile i32 %x2, ptr addrspace(1) %p
  %x3 = fptosi double %d to i32
  store volatile i32 %x3, ptr addrspace(1) %p
  %x4 = fptosi half %h to i16
  store volatile i16 %x4, ptr addrspace(1) %p
  %x5 = fptosi float %a to i8
  store volatile i8 %x5, ptr addrspace(1) %p
  %x6 = uitofp i8 %y to float
  store volatile float %x6, ptr addrspace(1) %p
  %x7 = sitofp i64 %l to double
  store volatile double %x7, ptr addrspace(1) %p
  %x8 = uitofp i64 %l to half
  store volatile half %x8, ptr addrspace(1) %p
  %x9 = fptrunc double %d to half
  store volatile half %x9, ptr addrspace(1) %p
  %x10 = fptrunc double %d to float
  store volatile float %x10, ptr addrspace(1) %p
  %x11 = call i32 @llvm.fptosi.sat.i32.f32(float %a)
  store volatile i32 %x11, ptr addrspace(1) %p
  %x12 = call i32 @llvm.nvvm.f2i.rn.ftz(float %a)
  store volatile i32 %x12, ptr addrspace(1) %p
  %x13 = fcmp ueq float %a, %b
  %x14 = zext i1 %x13 to i32
  store volatile i32 %x14, ptr addrspace(1) %p
  %x15 = fcmp uno double %d, %d1
  %x16 = select i1 %x15, i64 %l, i64 5
  store volatile i64 %x16, ptr addrspace(1) %p
  %x17 = uitofp i1 %x13 to float
  store volatile float %x17, ptr addrspace(1) %p
  ret void
}

define void @integers(ptr addrspace(1) %p, i32 %i, i32 %j, i64 %l, i64 %m, i16 %w, i8 %y, <4 x i8> %v, i1 %b, i128 %q) {
  %i1 = call i32 @llvm.ctlz.i32(i32 %i, i1 false)
  store volatile i32 %i1, ptr addrspace(1) %p
  %i2 = call i64 @llvm.ctlz.i64(i64 %l, i1 true)
  store volatile i64 %i2, ptr addrspace(1) %p
  %i3 = call i32 @llvm.cttz.i32(i32 %i, i1 false)
  store volatile i32 %i3, ptr addrspace(1) %p
  %i4 = call i32 @llvm.bitreverse.i32(i32 %i)
  store volatile i32 %i4, ptr addrspace(1) %p
  %i5 = call i64 @llvm.bitreverse.i64(i64 %l)
  store volatile i64 %i5, ptr addrspace(1) %p
  %i6 = call i32 @llvm.bswap.i32(i32 %i)
  store volatile i32 %i6, ptr addrspace(1) %p
  %i7 = call i32 @llvm.fshl.i32(i32 %i, i32 %j, i32 %i)
  store volatile i32 %i7, ptr addrspace(1) %p
  %i8 = call i32 @llvm.fshr.i32(i32 %i, i32 %i, i32 7)
  store volatile i32 %i8, ptr addrspace(1) %p
  %i9 = call i64 @llvm.fshl.i64(i64 %l, i64 %l, i64 %m)
  store volatile i64 %i9, ptr addrspace(1) %p
  %i10 = call i32 @llvm.sadd.sat.i32(i32 %i, i32 %j)
  store volatile i32 %i10, ptr addrspace(1) %p
  %i11 = call i32 @llvm.usub.sat.i32(i32 %i, i32 %j)
  store volatile i32 %i11, ptr addrspace(1) %p
  %i12 = call {i32, i1} @llvm.umul.with.overflow.i32(i32 %i, i32 %j)
  %i13 = extractvalue {i32, i1} %i12, 1
  %i14 = select i1 %i13, i32 %i, i32 %j
  store volatile i32 %i14, ptr addrspace(1) %p
  %i15 = call {i64, i1} @llvm.sadd.with.overflow.i64(i64 %l, i64 %m)
  %i16 = extractvalue {i64, i1} %i15, 1
  %i17 = zext i1 %i16 to i8
  store volatile i8 %i17, ptr addrspace(1) %p
  %i18 = call i32 @llvm.smax.i32(i32 %i, i32 %j)
  store volatile i32 %i18, ptr addrspace(1) %p
  %i19 = call i64 @llvm.umin.i64(i64 %l, i64 %m)
  store volatile i64 %i19, ptr addrspace(1) %p
  %i20 = call i16 @llvm.smin.i16(i16 %w, i16 7)
  store volatile i16 %i20, ptr addrspace(1) %p
  %i21 = call i32 @llvm.abs.i32(i32 %i, i1 false)
  store volatile i32 %i21, ptr addrspace(1) %p
  %i22 = sdiv i32 %i, 7
  store volatile i32 %i22, ptr addrspace(1) %p
  %i23 = udiv i64 %l, %m
  store volatile i64 %i23, ptr addrspace(1) %p
  %i24 = srem i64 %l, 1000
  store volatile i64 %i24, ptr addrspace(1) %p
  %i25 = mul i64 %l, %m
  store volatile i64 %i25, ptr addrspace(1) %p
  %i26 = mul i128 %q, 12345678901234567890123
  store volatile i128 %i26, ptr addrspace(1) %p
  %i27 = lshr i128 %q, 77
  %i28 = trunc i128 %i27 to i64
  store volatile i64 %i28, ptr addrspace(1) %p
  %i29 = add <4 x i8> %v, <i8 1, i8 2, i8 3, i8 4>
  store volatile <4 x i8> %i29, ptr addrspace(1) %p
  %i30 = shufflevector <4 x i8> %i29, <4 x i8> %v, <4 x i32> <i32 3, i32 5, i32 0, i32 6>
  store volatile <4 x i8> %i30, ptr addrspace(1) %p
  %i31 = icmp ult i16 %w, 1000
  %i32 = xor i1 %i31, %b
  %i33 = sext i1 %i32 to i64
  store volatile i64 %i33, ptr addrspace(1) %p
  %i34 = ashr i16 %w, 3
  store volatile i16 %i34, ptr addrspace(1) %p
  %i35 = trunc i64 %l to i8
  %i36 = sext i8 %i35 to i32
  store volatile i32 %i36, ptr addrspace(1) %p
  %i37 = lshr i32 %i, 5
  %i38 = and i32 %i37, 63
  store volatile i32 %i38, ptr addrspace(1) %p
  %i39 = sext i8 %y to i16
  %i40 = mul i16 %i39, %w
  store volatile i16 %i40, ptr addrspace(1) %p
  %k = and i32 %i, 3
  %kp = getelementptr [3 x i64], ptr addrspace(4) @c, i32 0, i32 %k
  %kv = load i64, ptr addrspace(4) %kp
  store volatile i64 %kv, ptr addrspace(1) %p
  ret void
}

define void @together(ptr addrspace(1) %p, ptr %q, i32 %i, float %a, double %d, i64 %l) {
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %sp = getelementptr [256 x float], ptr addrspace(3) @s, i32 0, i32 %t
  store float %a, ptr addrspace(3) %sp
  call void @llvm.nvvm.barrier0()
  call void @llvm.nvvm.barrier.sync(i32 1)
  call void @llvm.nvvm.barrier.sync.cnt(i32 2, i32 64)
  call void @llvm.nvvm.bar.warp.sync(i32 -1)
  call void @llvm.nvvm.membar.gl()
  %s1 = call i32 @llvm.nvvm.shfl.sync.idx.i32(i32 -1, i32 %i, i32 0, i32 31)
  store volatile i32 %s1, ptr addrspace(1) %p
  %s2 = call {i32, i1} @llvm.nvvm.shfl.sync.down.i32p(i32 -1, i32 %i, i32 %t, i32 31)
  %s3 = extractvalue {i32, i1} %s2, 1
  %s4 = call i32 @llvm.nvvm.vote.ballot.sync(i32 -1, i1 %s3)
  store volatile i32 %s4, ptr addrspace(1) %p
  %s5 = call i1 @llvm.nvvm.vote.all.sync(i32 -1, i1 %s3)
  %s6 = zext i1 %s5 to i32
  store volatile i32 %s6, ptr addrspace(1) %p
  %a1 = atomicrmw fadd ptr addrspace(1) %p, float %a seq_cst
  %a2 = atomicrmw fadd ptr addrspace(3) %sp, float %a monotonic
  %a3 = atomicrmw fadd ptr addrspace(1) %p, double %d seq_cst
  %a4 = atomicrmw add ptr addrspace(1) %p, i64 %l seq_cst
  %a5 = atomicrmw umax ptr addrspace(1) %p, i32 %i seq_cst
  %a6 = atomicrmw fmax ptr addrspace(1) %p, float %a seq_cst
  %a7 = cmpxchg ptr addrspace(1) %p, i32 %i, i32 %s1 seq_cst seq_cst
  %a8 = atomicrmw add ptr %q, i32 %i seq_cst
  %a9 = atomicrmw xchg ptr addrspace(1) %p, i32 %a8 seq_cst
  %a10 = atomicrmw sub ptr addrspace(1) %p, i32 %i seq_cst
  %l1 = load <4 x float>, ptr addrspace(3) @s, align 16
  store <4 x float> %l1, ptr addrspace(1) %p, align 16
  %l2 = load <2 x i64>, ptr %q, align 16
  store <2 x i64> %l2, ptr addrspace(1) %p, align 16
  %l3 = load <8 x half>, ptr addrspace(1) %p, align 16
  store <8 x half> %l3, ptr addrspace(3) @s, align 16
  %l4 = load <8 x bfloat>, ptr addrspace(1) %p, align 16
  store <8 x bfloat> %l4, ptr addrspace(3) @s, align 16
  %l5 = load atomic i32, ptr addrspace(1) %p monotonic, align 4
  store atomic i32 %l5, ptr addrspace(1) %p monotonic, align 4
  %c1 = addrspacecast ptr addrspace(3) @s to ptr
  %l6 = load float, ptr %c1
  store float %l6, ptr %q
  ret void
}

!nvvm.annotations = !{!0, !1, !2}
!0 = !{ptr @floats, !"kernel", i32 1}
!1 = !{ptr @integers, !"kernel", i32 1}
!2 = !{ptr @together, !"kernel", i32 1}
