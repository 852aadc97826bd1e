# Page tables. Everything is mapped at its own physical address, or not at all. The runtime asks for what it needs beyond
# its image; it gets it to read, and to write if it wants, but never to execute. The nub's own pages are the supervisor's.

.section .nub.text, "ax"
.code32
# Maps the image in pages of 4 KiB, each part with its rights, and the first MiB to read, where firmware and loaders leave
# their tables; but not page 0, so that a null pointer is a fault: of that, the runtime gets a copy.
map_image:
    push edi
    push esi
    xor esi, esi
    mov edi, offset nub_page_0
    mov ecx, 1024
    rep movsd
    mov dword ptr [nub_pml4], offset nub_pdpt + (PRESENT | WRITE | USER)
    mov dword ptr [nub_pdpt], offset nub_directory + (PRESENT | WRITE | USER)
    mov dword ptr [nub_directory], offset nub_low_table + (PRESENT | WRITE | USER)
    mov edi, offset nub_directory + (IMAGE >> 21) * 8
    mov eax, offset nub_image_tables + (PRESENT | WRITE | USER)
    mov ecx, N_IMAGE_TABLE
0:  mov [edi], eax
    add edi, 8
    add eax, 4096
    loop 0b

    mov edi, offset nub_low_table + 8
    mov eax, 0x1000 | PRESENT | USER
0:  mov [edi], eax
    mov dword ptr [edi + 4], NO_EXECUTE_HIGH
    add edi, 8
    add eax, 4096
    cmp eax, 0x100000
    jb 0b

    mov ebx, offset image_parts
0:  mov edx, [ebx]
    mov edi, edx
    sub edi, IMAGE
    shr edi, 9                                  # 8 bytes for each 4096
    add edi, offset nub_image_tables
1:  cmp edx, [ebx + 4]
    jae 2f
    mov eax, [ebx + 8]
    or eax, edx
    mov [edi], eax
    mov eax, [ebx + 12]
    mov [edi + 4], eax
    add edi, 8
    add edx, 4096
    jmp 1b
2:  add ebx, 16
    cmp ebx, offset image_parts_end
    jne 0b
    pop esi
    pop edi
    ret

.code64
# Service: maps rsi pages from the address rdi on, of 4 KiB << 9 * rdx; rcx: bit 0 to write, bit 1 uncached. Answers 0;
# 1 for what may not be mapped (misaligned, in the first MiB, in the image, mapped already); 2 if tables have run out.
service_map:
    push rbx
    push rbp
    push r12
    cmp rdx, 2
    ja map_refused
    # r9: the level as a shift. r10: bytes of a page. r12: pages left.
    lea r9d, [rdx + rdx * 8 + 12]
    mov r8, rcx
    mov ecx, r9d
    mov r10d, 1
    shl r10, cl
    lea rax, [r10 - 1]
    test rdi, rax
    jnz map_refused
    mov r12, rsi
    lea rax, [rsi - 1]
    shr rax, 32
    jnz map_refused                             # none, or far too many
    shl rsi, cl
    add rsi, rdi
    jc map_refused
    mov rax, rsi
    shr rax, 47
    jnz map_refused
    cmp rdi, 0x100000
    jb map_refused
    lea rax, [rip + __image_end]
    cmp rdi, rax
    jae 0f
    cmp rsi, IMAGE
    ja map_refused

    # rbx: the entry of the first page, without and then with its rights.
0:  mov eax, NO_EXECUTE_HIGH
    shl rax, 32
    lea rbx, [rdi + rax]
    or rbx, PRESENT | USER
    test r8d, 1
    jz 0f
    or rbx, WRITE
0:  test r8d, 2
    jz 0f
    or rbx, UNCACHED
0:  test edx, edx
    jz 0f
    or rbx, LARGE
0:  lock bts dword ptr [rip + map_lock], 0
    jc map_wait

    # Down the tables to the entry of rdi; then entry by entry to the end of that table.
map_walk:
    lea rbp, [rip + nub_pml4]
    mov ecx, 39
1:  mov rax, rdi
    shr rax, cl
    and eax, 511
    lea rbp, [rbp + rax * 8]
    cmp ecx, r9d
    je 3f
    sub ecx, 9
    mov rax, [rbp]
    test eax, LARGE
    jnz map_refused_locked
    test eax, eax
    jnz 2f
    mov eax, [rip + n_table]
    cmp eax, N_TABLE
    jae map_full
    inc dword ptr [rip + n_table]
    shl eax, 12
    lea rdx, [rip + nub_tables]
    add rax, rdx
    or rax, PRESENT | WRITE | USER
    mov [rbp], rax
2:  and rax, -4096
    mov rbp, rax
    jmp 1b
3:  cmp qword ptr [rbp], 0
    jne map_refused_locked
    mov [rbp], rbx
    add rbx, r10
    add rdi, r10
    dec r12
    jz map_done
    add rbp, 8
    test ebp, 4095
    jnz 3b
    jmp map_walk

map_done:
    xor eax, eax
    jmp map_unlock
map_full:
    mov eax, 2
    jmp map_unlock
map_refused_locked:
    mov eax, 1
map_unlock:
    mov dword ptr [rip + map_lock], 0
    jmp map_return
map_refused:
    mov eax, 1
map_return:
    pop r12
    pop rbp
    pop rbx
    iretq
map_wait:
    pause
    jmp 0b

# First page, end, rights in the lower and the upper half of an entry. What is in none of these, as the pages below each
# stack, is not there.
.section .nub.data, "aw"
.balign 4
image_parts:
    .long IMAGE, __nub_data, PRESENT, 0
    .long __nub_data, __text, PRESENT | WRITE, NO_EXECUTE_HIGH
    .long __text, __rodata, PRESENT | USER, 0
    .long __rodata, __data, PRESENT | USER, NO_EXECUTE_HIGH
    .long __data, __guard, PRESENT | USER | WRITE, NO_EXECUTE_HIGH
    .long __stack, __stack_top, PRESENT | USER | WRITE, NO_EXECUTE_HIGH
    .long __fault_stack, __fault_stack_top, PRESENT | USER | WRITE, NO_EXECUTE_HIGH
image_parts_end:
map_lock: .long 0
n_table: .long 0

.section .nub.bss, "aw", @nobits
.balign 4096
nub_pml4: .skip 4096
nub_pdpt: .skip 4096
nub_directory: .skip 4096
nub_low_table: .skip 4096
nub_image_tables: .skip N_IMAGE_TABLE * 4096
nub_tables: .skip N_TABLE * 4096

.section .bss.nub_page_0, "aw", @nobits
.balign 16
.globl nub_page_0
nub_page_0: .skip 4096
