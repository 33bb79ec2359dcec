"""System calls by name, what a candidate may do with each, and their numbers on x86-64 and aarch64.

Whatever stands in none of these tables does not exist for a candidate (``ENOSYS``): C libraries then take an older way.
"""

from typing import NamedTuple

__all__ = ["ALLOWED", "CHECKED", "FORBIDDEN", "PRETENDED", "Numbers"]


class Numbers(NamedTuple):
    """The number of one system call by machine; None where there is none."""

    x86_64: int | None
    aarch64: int | None


def _table(text: str) -> dict[str, Numbers]:
    """Read ``name:x86_64:aarch64``, as often as it stands there."""
    rows = (entry.split(":") for entry in text.split())
    return {name: Numbers(*(None if number == "-" else int(number) for number in numbers)) for name, *numbers in rows}


#: May be used as they are.
ALLOWED = _table(
    # Files that are open, and paths, which Landlock judges.
    "read:0:63 write:1:64 pread64:17:67 pwrite64:18:68 readv:19:65 writev:20:66 preadv:295:69 pwritev:296:70 "
    "preadv2:327:286 pwritev2:328:287 lseek:8:62 close:3:57 close_range:436:436 dup:32:23 dup2:33:- dup3:292:24 "
    "pipe:22:- pipe2:293:59 open:2:- openat:257:56 creat:85:- stat:4:- lstat:6:- fstat:5:80 newfstatat:262:79 "
    "statx:332:291 statfs:137:43 fstatfs:138:44 access:21:- faccessat:269:48 faccessat2:439:439 readlink:89:- "
    "readlinkat:267:78 getcwd:79:17 chdir:80:49 fchdir:81:50 getdents:78:- getdents64:217:61 mkdir:83:- "
    "mkdirat:258:34 rmdir:84:- unlink:87:- unlinkat:263:35 rename:82:- renameat:264:38 renameat2:316:276 link:86:- "
    "linkat:265:37 symlink:88:- symlinkat:266:36 ftruncate:77:46 fallocate:285:47 fsync:74:82 fdatasync:75:83 "
    "umask:95:166 fadvise64:221:223 sendfile:40:71 copy_file_range:326:285 splice:275:76 "
    "readahead:187:213 "
    # Waiting.
    "poll:7:- ppoll:271:73 select:23:- pselect6:270:72 epoll_create:213:- epoll_create1:291:20 epoll_ctl:233:21 "
    "epoll_wait:232:- epoll_pwait:281:22 epoll_pwait2:441:441 eventfd2:290:19 nanosleep:35:101 "
    "clock_nanosleep:230:115 pause:34:- futex:202:98 futex_waitv:449:449 timerfd_create:283:85 timerfd_settime:286:86 "
    "timerfd_gettime:287:87 alarm:37:- setitimer:38:103 getitimer:36:102 restart_syscall:219:128 "
    # Memory.
    "mmap:9:222 munmap:11:215 mremap:25:216 mprotect:10:226 madvise:28:233 msync:26:227 mincore:27:232 brk:12:214 "
    # Threads of its own, and what it may know of itself.
    "exit:60:93 exit_group:231:94 set_robust_list:273:99 get_robust_list:274:100 rseq:334:293 set_tid_address:218:96 "
    "gettid:186:178 getpid:39:172 getppid:110:173 getpgid:121:155 getpgrp:111:- getsid:124:156 getuid:102:174 "
    "geteuid:107:175 getgid:104:176 getegid:108:177 getgroups:115:158 getresuid:118:148 getresgid:120:150 "
    "capget:125:90 wait4:61:260 waitid:247:95 getrlimit:97:163 setrlimit:160:164 getrusage:98:165 times:100:153 "
    "sched_yield:24:124 sched_getaffinity:204:123 sched_getparam:143:121 sched_getscheduler:145:120 "
    "sched_get_priority_max:146:125 sched_get_priority_min:147:126 getpriority:140:141 membarrier:324:283 "
    "getcpu:309:168 sysinfo:99:179 uname:63:160 getrandom:318:278 "
    # Time.
    "gettimeofday:96:169 time:201:- clock_gettime:228:113 clock_getres:229:114 "
    # Signals to itself.
    "rt_sigaction:13:134 rt_sigprocmask:14:135 rt_sigreturn:15:139 rt_sigpending:127:136 rt_sigsuspend:130:133 "
    "rt_sigtimedwait:128:137 sigaltstack:131:132 "
    # A pair of sockets that is connected already, as event loops use one to wake themselves up.
    "recvfrom:45:207 shutdown:48:210 getsockname:51:204 getpeername:52:205 getsockopt:55:209 "
)
#: May be used with some arguments only (see `kernel`).
CHECKED = _table(
    "clone:56:220 kill:62:129 tgkill:234:131 prlimit64:302:261 fcntl:72:25 ioctl:16:29 socketpair:53:199 "
    "sendto:44:206 prctl:157:167 "
)
#: Say that they have worked, and do nothing: copying a file in the work folder copies its mode, too, but modes, owners,
#: times and locks of files elsewhere are none of a candidate's business, and Landlock does not look after them.
PRETENDED = _table(
    "chmod:90:- fchmod:91:52 fchmodat:268:53 fchmodat2:452:452 chown:92:- lchown:94:- fchown:93:55 fchownat:260:54 "
    "utime:132:- utimes:235:- utimensat:280:88 futimesat:261:- setxattr:188:5 lsetxattr:189:6 fsetxattr:190:7 "
    "removexattr:197:14 lremovexattr:198:15 fremovexattr:199:16 flock:73:32 "
)
#: Fail with ``EPERM``, which Python shows as a `PermissionError`: an answer that says more than ``ENOSYS``.
FORBIDDEN = _table(
    "setsockopt:54:208 socket:41:198 connect:42:203 bind:49:200 listen:50:201 accept:43:202 accept4:288:242 "
    "sendmsg:46:211 sendmmsg:307:269 recvmsg:47:212 recvmmsg:299:243 fork:57:- vfork:58:- execve:59:221 "
    "execveat:322:281 ptrace:101:117 process_vm_readv:310:270 process_vm_writev:311:271 kcmp:312:272 "
    "pidfd_open:434:434 pidfd_getfd:438:438 pidfd_send_signal:424:424 tkill:200:130 rt_sigqueueinfo:129:138 "
    "rt_tgsigqueueinfo:297:240 setuid:105:146 setgid:106:144 setreuid:113:145 setregid:114:143 setresuid:117:147 "
    "setresgid:119:149 setgroups:116:159 setfsuid:122:151 setfsgid:123:152 capset:126:91 setsid:112:157 "
    "setpgid:109:154 setpriority:141:140 sched_setaffinity:203:122 sched_setscheduler:144:119 sched_setparam:142:118 "
    "sched_setattr:314:274 ioprio_set:251:30 memfd_create:319:279 memfd_secret:447:447 shmget:29:194 shmat:30:196 "
    "shmctl:31:195 msgget:68:186 msgsnd:69:189 semget:64:190 semop:65:193 mq_open:240:180 mlock:149:228 "
    "mlockall:151:230 truncate:76:45 mknod:133:- mknodat:259:33 mount:165:40 umount2:166:39 pivot_root:155:41 "
    "chroot:161:51 unshare:272:97 setns:308:268 reboot:169:142 swapon:167:224 swapoff:168:225 sethostname:170:161 "
    "setdomainname:171:162 settimeofday:164:170 clock_settime:227:112 clock_adjtime:305:266 adjtimex:159:171 "
    "init_module:175:105 finit_module:313:273 delete_module:176:106 kexec_load:246:104 syslog:103:116 acct:163:89 "
    "quotactl:179:60 personality:135:92 bpf:321:280 perf_event_open:298:241 userfaultfd:323:282 add_key:248:217 "
    "request_key:249:218 keyctl:250:219 inotify_init:253:- inotify_init1:294:26 fanotify_init:300:262 "
    "open_by_handle_at:304:265 name_to_handle_at:303:264 vhangup:153:58 sync:162:81 syncfs:306:267 signalfd:282:- "
    "signalfd4:289:74 vmsplice:278:75 tee:276:77 process_madvise:440:440 migrate_pages:256:238 move_pages:279:239 "
    "io_setup:206:0 "
)
