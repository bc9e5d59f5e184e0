; y[i] = pick(x[i] & 15, {3, i, 7}) + table[x[i] & 3]: calls with structures by value, a table of branches, local memory
; that is indexed, constants, and lines for a debugger.
target triple = "nvptx64-nvidia-cuda"
%triple = type { i64, i32, [3 x i8] }
@table = internal addrspace(4) constant [4 x i32] [i32 10, i32 20, i32 30, i32 40]
@count = addrspace(1) global i32 5

define internal i64 @pick(i32 %which, ptr byval(%triple) align 8 %t) noinline !dbg !6 {
entry:
  %first = load i64, ptr %t, !dbg !9
  %second = getelementptr %triple, ptr %t, i32 0, i32 1
  %b = load i32, ptr %second
  %b64 = sext i32 %b to i64
  switch i32 %which, label %other [
    i32 0, label %c0
    i32 1, label %c1
    i32 2, label %c2
    i32 3, label %c3
    i32 4, label %c4
    i32 5, label %c5
    i32 6, label %c6
    i32 7, label %c7
  ]
c0:
  ret i64 %first
c1:
  ret i64 %b64
c2:
  %s2 = mul i64 %first, %b64
  ret i64 %s2
c3:
  %s3 = sdiv i64 %first, -2
  ret i64 %s3
c4:
  %s4 = xor i64 %first, %b64
  ret i64 %s4
c5:
  %s5 = shl i64 %first, 33
  ret i64 %s5
c6:
  %s6 = sub i64 0, %b64
  ret i64 %s6
c7:
  %s7 = call i64 @llvm.ctpop.i64(i64 %b64)
  ret i64 %s7
other:
  ret i64 -1
}
declare i64 @llvm.ctpop.i64(i64)
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()

define void @calls(ptr addrspace(1) %x, ptr addrspace(1) %y) !dbg !10 {
  %i = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %at = getelementptr i32, ptr addrspace(1) %x, i32 %i
  %v = load i32, ptr addrspace(1) %at, !dbg !11
  %t = alloca %triple, align 8
  %n = alloca [8 x i32], align 4
  %i64 = zext i32 %i to i64
  %n0 = load i32, ptr addrspace(1) @count
  %n064 = zext i32 %n0 to i64
  %f = add i64 %i64, %n064
  store i64 %f, ptr %t
  %p1 = getelementptr %triple, ptr %t, i32 0, i32 1
  %iv = sub i32 3, %i
  store i32 %iv, ptr %p1
  %low = and i32 %v, 7
  %slot = getelementptr [8 x i32], ptr %n, i32 0, i32 %low
  store volatile i32 %v, ptr %slot
  %back = load volatile i32, ptr %slot
  %which = and i32 %back, 15
  %r = call i64 @pick(i32 %which, ptr byval(%triple) align 8 %t), !dbg !11
  %k = and i32 %v, 3
  %kp = getelementptr [4 x i32], ptr addrspace(4) @table, i32 0, i32 %k
  %kv = load i32, ptr addrspace(4) %kp
  %k64 = sext i32 %kv to i64
  %sum = add i64 %r, %k64
  %to = getelementptr i64, ptr addrspace(1) %y, i32 %i
  store i64 %sum, ptr addrspace(1) %to, !dbg !11
  ret void, !dbg !11
}

!nvvm.annotations = !{!0}
!0 = !{ptr @calls, !"kernel", i32 1}
!llvm.dbg.cu = !{!1}
!llvm.module.flags = !{!3, !4}
!1 = distinct !DICompileUnit(language: DW_LANG_C99, file: !2, producer: "by hand", isOptimized: true, runtimeVersion: 0, emissionKind: FullDebug)
!2 = !DIFile(filename: "calls.c", directory: "/")
!3 = !{i32 2, !"Dwarf Version", i32 2}
!4 = !{i32 2, !"Debug Info Version", i32 3}
!5 = !DISubroutineType(types: !{null})
!6 = distinct !DISubprogram(name: "pick", scope: !2, file: !2, line: 1, type: !5, unit: !1, spFlags: DISPFlagDefinition)
!9 = !DILocation(line: 2, column: 3, scope: !6)
!10 = distinct !DISubprogram(name: "calls", scope: !2, file: !2, line: 10, type: !5, unit: !1, spFlags: DISPFlagDefinition)
!11 = !DILocation(line: 12, column: 5, scope: !10)
