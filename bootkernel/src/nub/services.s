# What ring 3 may not do by itself. Each service leaves by `iretq`; `gate` has brought it here.

.section .nub.data, "aw"
.balign 8
# In the order of `nub::Service`; N_SERVICE of them.
services:
    .quad service_in, service_out, service_write, service_cpuid, service_read_msr, service_write_msr
    .quad service_map, service_interrupts, service_wait, service_start_core, service_set_eoi
    .quad service_core, stop

.section .nub.text, "ax"
.code64
# Reads rsi = 1, 2 or 4 bytes from port rdi.
service_in:
    mov edx, edi
    xor eax, eax
    cmp esi, 2
    je 1f
    ja 2f
    in al, dx
    iretq
1:  in ax, dx
    iretq
2:  in eax, dx
    iretq

# Writes rsi = 1, 2 or 4 bytes, rdx, to port rdi.
service_out:
    mov eax, edx
    mov edx, edi
    cmp esi, 2
    je 1f
    ja 2f
    out dx, al
    iretq
1:  out dx, ax
    iretq
2:  out dx, eax
    iretq

# Writes the rdx bytes at rsi to the serial port rdi, as fast as its queue of 16 empties, and answers how many are left: some,
# if the queue has not emptied for a while. A missing port takes everything.
service_write:
    mov r8, rdx
    mov r9d, edi
1:  mov ecx, 1 << 16
2:  lea edx, [r9 + 5]                           # line status
    in al, dx
    test al, 1 << 5                             # queue empty
    jnz 3f
    loop 2b
    mov rax, r8
    iretq
3:  cmp al, 0xff                                # what a missing port reads as
    je 4f
    mov ecx, 16
    cmp rcx, r8
    cmova rcx, r8
    sub r8, rcx
    mov edx, r9d
    rep outsb
    test r8, r8
    jnz 1b
4:  xor eax, eax
    iretq

# Leaf rdi, subleaf rsi: eax and ebx in rax, ecx and edx in rdx, the first of each in the lower half.
service_cpuid:
    push rbx
    mov eax, edi
    mov ecx, esi
    cpuid
    shl rbx, 32
    or rax, rbx
    shl rdx, 32
    or rdx, rcx
    pop rbx
    iretq

# Reads the register rdi.
service_read_msr:
    call check_msr
    rdmsr
    shl rdx, 32
    or rax, rdx
    iretq

# Writes rsi to the register rdi.
service_write_msr:
    call check_msr
    mov eax, esi
    mov rdx, rsi
    shr rdx, 32
    wrmsr
    iretq

# The local APIC, its timer's deadline and the clock of KVM: all that the runtime has to do with. Others would open the nub.
check_msr:
    mov ecx, edi
    lea eax, [rcx - 0x800]                      # x2APIC
    cmp eax, 0x40
    jb 1f
    cmp ecx, 0x1b                               # base and mode of the APIC
    je 1f
    cmp ecx, 0x6e0                              # deadline
    je 1f
    cmp ecx, 0x4b564d01                         # clock of KVM
    je 1f
    add rsp, 8
    jmp not_a_service
1:  ret

# Lets the timer in while the runtime runs (rdi = 1), or keeps it out (0).
service_interrupts:
    and qword ptr [rsp + 16], ~0x200
    shl edi, 9
    and edi, 0x200
    or [rsp + 16], rdi
    iretq

# Sleeps until the next tick.
service_wait:
    sti
    hlt
    cli
    iretq

# How the timer's interrupt is ended: by writing 0 to the address rdi, or to a register of the processor if rdi is 0.
service_set_eoi:
    mov [rip + nub_eoi], rdi
    iretq

# The number of the core that asks. The service after it, `stop`, is where faults have theirs.
service_core:
    mov rax, rsp
    and rax, -CORE_BYTES
    mov rax, [rax + CORE_NUMBER]
    iretq
