/* A stand-in libnvidia-ml.so.1, so that the real pynvml runs on machines with no NVIDIA driver.
 *
 *   gcc -O1 -Wall -Wextra -shared -fPIC -Wl,-soname,libnvidia-ml.so.1 -o libnvidia-ml.so.1 nvml_stub.c -lpthread
 *   NVML_STUB_FILE=/path/state.conf LD_LIBRARY_PATH=/folder/of/the/library python ...
 *
 * It offers the calls that models_app/probes makes, in one file so that one command builds it. Every call reads the
 * state file again, so that a test changes the machine by replacing the file (write another one, then rename). Without
 * the file the driver is not loaded. Lines are key=value; '#' opens a comment line.
 *
 *   driver=580.95.05        the driver's version
 *   count=2                 number of GPUs; a handle beyond it answers GPU_IS_LOST
 *   init_error=9            what nvmlInit answers
 *   driver_start=2          another number: the driver was restarted and answers UNINITIALIZED until nvmlInit
 *   hang=1                  system calls do not return as long as this line stands
 *   log=/path/calls.log     every call appends its name, and the GPU's index where there is one
 *
 *   gpu0.name=NVIDIA GeForce RTX 4090       gpu0.uuid=GPU-...
 *   gpu0.total_mb=24564  gpu0.reserved_mb=400  gpu0.used_mb=1000    used excludes reserved, as in memory v2
 *   gpu0.util=37  gpu0.memutil=12  gpu0.temp=55  gpu0.power_mw=120000  gpu0.limit_mw=450000
 *   gpu0.proc=1234:2048     pid:MiB of a compute process, or pid:NA; may repeat; does not change used_mb
 *   gpu0.gproc=1234:100     the same for a graphics process
 *   gpu0.follow=NAME        each live process whose /proc/PID/comm starts so is a compute process, and its resident
 *                           memory counts as used memory; may repeat; a look holds for 2 ms
 *   gpu0.clock_graphics=2520  gpu0.clock_mem=10501  gpu0.max_clock_graphics=3105  gpu0.max_clock_mem=10501
 *   gpu0.clock_reasons=4    bits of the reasons that hold the clocks; gpu0.old_reasons=1 knows only the older call
 *   gpu0.ecc=1  gpu0.ecc_corrected=3  gpu0.ecc_uncorrected=0  gpu0.compute_mode=3
 *   gpu0.pcie_gen=4  gpu0.max_pcie_gen=4  gpu0.pcie_width=8  gpu0.max_pcie_width=16
 *   gpu0.mig=1  gpu0.mig_most=7     MIG is on, with at most so many instances; these are there:
 *   gpu0.mig0.uuid=MIG-...  gpu0.mig0.name=NVIDIA H100 MIG 1g.12gb  gpu0.mig0.total_mb=11264  gpu0.mig0.used_mb=10
 *   gpu0.fan=30  gpu0.encoder=0  gpu0.decoder=0
 *                           each of these calls is NOT_SUPPORTED where its key does not stand here
 *
 *   gpu0.error=15           every query of this GPU answers with this NVML code (15 is GPU_IS_LOST)
 *   gpu0.error.FUNCTION=3   only that function; without its _v2, _v3 or V ending, every version of it
 *   gpu0.no_v2=1            memory v2 is FUNCTION_NOT_FOUND, as before R510
 *   gpu0.no_v3=1            process lists v3 are FUNCTION_NOT_FOUND
 *   gpu0.no_v=1             the versioned temperature is FUNCTION_NOT_FOUND
 *   gpu0.delay_ms=200       each query of this GPU sleeps first
 *   gpu0.hang.FUNCTION=1    only that function
 *   gpu0.hang=1             queries of this GPU do not return as long as this line stands
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define MIB 1048576ULL
#define MAX_GPUS 16
#define MAX_PARTS 8 /* MIG instances of a GPU; their handles follow those of the GPUs */
#define MAX_DEVICES (MAX_GPUS * (1 + MAX_PARTS))
#define MAX_PROCESSES 512
#define POLL_MICROSECONDS 2000
#define FOLLOWED_MICROSECONDS 2000

typedef unsigned int uint;
typedef unsigned long long ulonglong;

typedef enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NO_PERMISSION = 4,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    TIMEOUT = 10,
    FUNCTION_NOT_FOUND = 13,
    GPU_IS_LOST = 15,
    RESET_REQUIRED = 16,
    OPERATING_SYSTEM = 17,
    LIB_RM_VERSION_MISMATCH = 18,
    ARGUMENT_VERSION_MISMATCH = 25,
} Result;

/* The binding's structures, field for field. */
typedef struct { ulonglong total, free, used; } MemoryV1;
typedef struct { uint version; ulonglong total, reserved, free, used; } MemoryV2;
typedef struct { uint gpu, memory; } Utilization;
typedef struct { uint version; int sensor; int celsius; } TemperatureV1;
typedef struct { uint pid; ulonglong used_bytes; uint gpu_instance, compute_instance; } Process;

typedef struct { int index; int is_open; } *Device;

static struct { int index; int is_open; } devices[MAX_DEVICES];
static int initializations;
static long long initialized_driver_start;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Tells this library from the real one. */
EXPORT const int nvml_stub_marker = 1;

/* ---- the state file ---- */

static char *read_state(void) {
    const char *path = getenv("NVML_STUB_FILE");
    FILE *file = fopen(path ? path : "nvml_stub.conf", "r");
    if (!file) return NULL;
    size_t capacity = 65536;
    char *text = calloc(1, capacity);
    size_t length = fread(text, 1, capacity - 1, file);
    text[length] = 0;
    fclose(file);
    return text;
}

/* Copies the value of the nth line with this key; 1 when there is one. */
static int find_nth(const char *state, const char *key, int nth, char *value, size_t capacity) {
    size_t key_length = strlen(key);
    for (const char *line = state; line && *line;) {
        const char *end = strchr(line, '\n');
        size_t length = end ? (size_t)(end - line) : strlen(line);
        if (length > key_length && !strncmp(line, key, key_length) && line[key_length] == '=' && nth-- == 0) {
            size_t size = length - key_length - 1;
            if (size >= capacity) size = capacity - 1;
            memcpy(value, line + key_length + 1, size);
            while (size && isspace((unsigned char)value[size - 1])) size--;
            value[size] = 0;
            return 1;
        }
        line = end ? end + 1 : NULL;
    }
    return 0;
}

static int find_text(const char *key, char *value, size_t capacity, const char *fallback) {
    char *state = read_state();
    int found = state && find_nth(state, key, 0, value, capacity);
    free(state);
    if (!found && fallback) snprintf(value, capacity, "%s", fallback);
    return found;
}

static long long find_number(const char *key, long long fallback) {
    char value[64];
    return find_text(key, value, sizeof value, NULL) ? atoll(value) : fallback;
}

static int gpu_of(int index) { return index < MAX_GPUS ? index : (index - MAX_GPUS) / MAX_PARTS; }

static void gpu_key(char *key, size_t capacity, int index, const char *name) {
    if (index < MAX_GPUS) snprintf(key, capacity, "gpu%d.%s", index, name);
    else snprintf(key, capacity, "gpu%d.mig%d.%s", gpu_of(index), (index - MAX_GPUS) % MAX_PARTS, name);
}

static long long gpu_number(Device device, const char *name, long long fallback) {
    char key[160];
    gpu_key(key, sizeof key, device->index, name);
    return find_number(key, fallback);
}

static void gpu_text(Device device, const char *name, char *value, size_t capacity, const char *fallback) {
    char key[160];
    gpu_key(key, sizeof key, device->index, name);
    find_text(key, value, capacity, fallback);
}

static int gpu_count(void) {
    long long count = find_number("count", 0);
    return count > MAX_GPUS ? MAX_GPUS : (int)count;
}

static void log_call(const char *function, int index) {
    char path[512];
    if (!find_text("log", path, sizeof path, NULL)) return;
    FILE *file = fopen(path, "a");
    if (!file) return;
    if (index < 0) fprintf(file, "%s\n", function);
    else fprintf(file, "%s %d\n", function, index);
    fclose(file);
}

/* ---- what every call does first ---- */

static int is_initialized(void) {
    return initializations && initialized_driver_start == find_number("driver_start", 0);
}

static void wait_while_system_hangs(void) {
    while (find_number("hang", 0)) usleep(POLL_MICROSECONDS);
}

static void wait_while_gpu_hangs(Device device) {
    long long delay_ms = gpu_number(device, "delay_ms", 0);
    if (delay_ms > 0) usleep((useconds_t)delay_ms * 1000);
    while (gpu_number(device, "hang", 0)) usleep(POLL_MICROSECONDS);
}

/* "nvmlDeviceGetMemoryInfo_v2" and "nvmlDeviceGetTemperatureV" without their version. */
static void base_name(const char *function, char *base, size_t capacity) {
    snprintf(base, capacity, "%s", function);
    size_t length = strlen(base);
    if (length > 3 && base[length - 3] == '_' && base[length - 2] == 'v') base[length - 3] = 0;
    else if (length && base[length - 1] == 'V') base[length - 1] = 0;
}

static Result configured_error(Device device, const char *function) {
    char base[96], name[128];
    long long error = gpu_number(device, "error", 0);
    if (error) return (Result)error;
    snprintf(name, sizeof name, "error.%s", function);
    if ((error = gpu_number(device, name, 0))) return (Result)error;
    base_name(function, base, sizeof base);
    snprintf(name, sizeof name, "error.%s", base);
    return (Result)gpu_number(device, name, 0);
}

static Result enter_system(const char *function) {
    log_call(function, -1);
    wait_while_system_hangs();
    return is_initialized() ? SUCCESS : UNINITIALIZED;
}

static void wait_while_function_hangs(Device device, const char *function) {
    char name[128];
    snprintf(name, sizeof name, "hang.%s", function);
    while (gpu_number(device, name, 0)) usleep(POLL_MICROSECONDS);
}

static Result enter_gpu(Device device, const char *function) {
    if (!is_initialized()) return UNINITIALIZED;
    if (!device || (void *)device < (void *)devices || (void *)device >= (void *)(devices + MAX_DEVICES))
        return INVALID_ARGUMENT;
    log_call(function, device->index);
    wait_while_gpu_hangs(device);
    wait_while_function_hangs(device, function);
    if (!device->is_open) return INVALID_ARGUMENT; /* a handle from before the last nvmlInit */
    if (gpu_of(device->index) >= gpu_count()) return GPU_IS_LOST;
    return configured_error(device, function);
}

#define ENTER_SYSTEM() do { Result entered = enter_system(__func__); if (entered) return entered; } while (0)
#define ENTER_GPU(device) do { Result entered = enter_gpu(device, __func__); if (entered) return entered; } while (0)
#define REQUIRE(pointer) do { if (!(pointer)) return INVALID_ARGUMENT; } while (0)

static Result copy_text(char *target, uint capacity, const char *text) {
    REQUIRE(target);
    if (strlen(text) + 1 > capacity) return INSUFFICIENT_SIZE;
    strcpy(target, text);
    return SUCCESS;
}

/* ---- processes ---- */

static Process process_of(uint pid, ulonglong used_bytes) {
    return (Process){.pid = pid, .used_bytes = used_bytes, .gpu_instance = ~0u, .compute_instance = ~0u};
}

/* The lines "pid:MiB" or "pid:NA" under this key. */
static int configured_processes(Device device, const char *name, Process *processes, int capacity) {
    char key[160], value[256], *state = read_state();
    int count = 0;
    gpu_key(key, sizeof key, device->index, name);
    for (int nth = 0; state && count < capacity && find_nth(state, key, nth, value, sizeof value); nth++) {
        uint pid;
        double mib;
        char first;
        if (sscanf(value, "%u:%lf", &pid, &mib) == 2) processes[count++] = process_of(pid, (ulonglong)(mib * MIB));
        else if (sscanf(value, "%u:%c", &pid, &first) == 2 && first == 'N') processes[count++] = process_of(pid, ~0ULL);
    }
    free(state);
    return count;
}

static int has_command(const char *pid, const char *prefix) {
    char path[300], command[64] = "";
    snprintf(path, sizeof path, "/proc/%s/comm", pid);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    if (!fgets(command, sizeof command, file)) command[0] = 0;
    fclose(file);
    size_t length = strlen(prefix); /* the kernel keeps 15 characters */
    return !strncmp(command, prefix, length > 15 ? 15 : length);
}

static ulonglong resident_bytes(const char *pid) {
    char path[300];
    ulonglong size, resident = 0;
    snprintf(path, sizeof path, "/proc/%s/statm", pid);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    if (fscanf(file, "%llu %llu", &size, &resident) != 2) resident = 0;
    fclose(file);
    return resident * (ulonglong)sysconf(_SC_PAGESIZE);
}

static int followed_processes_named(const char *prefix, Process *processes, int capacity) {
    int count = 0;
    struct dirent *entry;
    DIR *folder = opendir("/proc");
    while (folder && count < capacity && (entry = readdir(folder))) {
        if (!isdigit((unsigned char)entry->d_name[0]) || !has_command(entry->d_name, prefix)) continue;
        ulonglong bytes = resident_bytes(entry->d_name);
        if (bytes) processes[count++] = process_of((uint)atoi(entry->d_name), bytes);
    }
    if (folder) closedir(folder);
    return count;
}

static long long now_microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

/* The last look through /proc, which the calls of one sweep share: a driver has no such search to make. */
static struct { char prefix[64]; long long at; int count; Process processes[MAX_PROCESSES]; } followed;

static int followed_lately(const char *prefix, Process *processes, int capacity) {
    pthread_mutex_lock(&lock);
    if (strcmp(followed.prefix, prefix) || now_microseconds() - followed.at > FOLLOWED_MICROSECONDS) {
        snprintf(followed.prefix, sizeof followed.prefix, "%s", prefix);
        followed.count = followed_processes_named(prefix, followed.processes, MAX_PROCESSES);
        followed.at = now_microseconds();
    }
    int count = followed.count < capacity ? followed.count : capacity;
    memcpy(processes, followed.processes, (size_t)count * sizeof *processes);
    pthread_mutex_unlock(&lock);
    return count;
}

static int followed_processes(Device device, Process *processes, int capacity) {
    char key[160], prefix[64], *state = read_state();
    int count = 0;
    gpu_key(key, sizeof key, device->index, "follow");
    for (int nth = 0; state && find_nth(state, key, nth, prefix, sizeof prefix); nth++)
        count += followed_lately(prefix, processes + count, capacity - count);
    free(state);
    return count;
}

/* As NVML does: *count is the room on the way in and the number of processes on the way out. */
static Result list_processes(const Process *listed, int number, uint *count, Process *processes) {
    uint room = *count;
    *count = (uint)number;
    if (room < (uint)number) return INSUFFICIENT_SIZE;
    if (number && processes) memcpy(processes, listed, (size_t)number * sizeof *listed);
    return SUCCESS;
}

static Result compute_processes(Device device, uint *count, Process *processes) {
    Process listed[MAX_PROCESSES];
    REQUIRE(count);
    int number = configured_processes(device, "proc", listed, MAX_PROCESSES);
    number += followed_processes(device, listed + number, MAX_PROCESSES - number);
    return list_processes(listed, number, count, processes);
}

static Result graphics_processes(Device device, uint *count, Process *processes) {
    Process listed[MAX_PROCESSES];
    REQUIRE(count);
    return list_processes(listed, configured_processes(device, "gproc", listed, MAX_PROCESSES), count, processes);
}

EXPORT Result nvmlDeviceGetComputeRunningProcesses_v3(Device device, uint *count, Process *processes) {
    ENTER_GPU(device);
    return gpu_number(device, "no_v3", 0) ? FUNCTION_NOT_FOUND : compute_processes(device, count, processes);
}

EXPORT Result nvmlDeviceGetComputeRunningProcesses_v2(Device device, uint *count, Process *processes) {
    ENTER_GPU(device);
    return compute_processes(device, count, processes);
}

EXPORT Result nvmlDeviceGetGraphicsRunningProcesses_v3(Device device, uint *count, Process *processes) {
    ENTER_GPU(device);
    return gpu_number(device, "no_v3", 0) ? FUNCTION_NOT_FOUND : graphics_processes(device, count, processes);
}

EXPORT Result nvmlDeviceGetGraphicsRunningProcesses_v2(Device device, uint *count, Process *processes) {
    ENTER_GPU(device);
    return graphics_processes(device, count, processes);
}

/* ---- memory ---- */

static ulonglong used_bytes(Device device) {
    Process followed[MAX_PROCESSES];
    ulonglong bytes = (ulonglong)gpu_number(device, "used_mb", 0) * MIB;
    int count = followed_processes(device, followed, MAX_PROCESSES);
    for (int i = 0; i < count; i++) bytes += followed[i].used_bytes;
    return bytes;
}

static void measure_memory(Device device, MemoryV2 *memory) {
    memory->total = (ulonglong)gpu_number(device, "total_mb", 24564) * MIB;
    memory->reserved = (ulonglong)gpu_number(device, "reserved_mb", 400) * MIB;
    ulonglong room = memory->total > memory->reserved ? memory->total - memory->reserved : 0;
    ulonglong used = used_bytes(device);
    memory->used = used > room ? room : used;
    memory->free = room - memory->used;
}

EXPORT Result nvmlDeviceGetMemoryInfo(Device device, MemoryV1 *memory) {
    ENTER_GPU(device);
    REQUIRE(memory);
    MemoryV2 measured;
    measure_memory(device, &measured);
    *memory = (MemoryV1){measured.total, measured.free, measured.used + measured.reserved};
    return SUCCESS;
}

EXPORT Result nvmlDeviceGetMemoryInfo_v2(Device device, MemoryV2 *memory) {
    ENTER_GPU(device);
    REQUIRE(memory);
    if (gpu_number(device, "no_v2", 0)) return FUNCTION_NOT_FOUND;
    if (memory->version != (sizeof(MemoryV2) | 2u << 24)) return ARGUMENT_VERSION_MISMATCH;
    measure_memory(device, memory);
    return SUCCESS;
}

/* ---- start, end, the system ---- */

EXPORT Result nvmlInitWithFlags(uint flags) {
    (void)flags;
    log_call(__func__, -1);
    wait_while_system_hangs();
    char *state = read_state();
    if (!state) return DRIVER_NOT_LOADED;
    free(state);
    long long error = find_number("init_error", 0);
    if (error) return (Result)error;
    pthread_mutex_lock(&lock);
    initializations++;
    initialized_driver_start = find_number("driver_start", 0);
    for (int i = 0; i < MAX_DEVICES; i++) {
        devices[i].index = i;
        devices[i].is_open = 0;
    }
    pthread_mutex_unlock(&lock);
    return SUCCESS;
}

EXPORT Result nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
EXPORT Result nvmlInit(void) { return nvmlInitWithFlags(0); }

EXPORT Result nvmlShutdown(void) {
    log_call(__func__, -1);
    pthread_mutex_lock(&lock);
    Result result = initializations ? SUCCESS : UNINITIALIZED;
    if (initializations) initializations--;
    pthread_mutex_unlock(&lock);
    return result;
}

EXPORT const char *nvmlErrorString(Result result) {
    switch (result) {
    case SUCCESS: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case NO_PERMISSION: return "Insufficient Permissions";
    case NOT_FOUND: return "Not Found";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case TIMEOUT: return "Timeout";
    case FUNCTION_NOT_FOUND: return "Function Not Found";
    case GPU_IS_LOST: return "GPU is lost";
    case RESET_REQUIRED: return "GPU requires restart";
    case OPERATING_SYSTEM: return "The operating system has blocked the request";
    case LIB_RM_VERSION_MISMATCH: return "RM has detected an NVML/RM version mismatch.";
    case ARGUMENT_VERSION_MISMATCH: return "Argument version mismatch";
    }
    return "Unknown Error";
}

EXPORT Result nvmlSystemGetDriverVersion(char *text, uint capacity) {
    ENTER_SYSTEM();
    char version[81];
    find_text("driver", version, sizeof version, "580.95.05");
    return copy_text(text, capacity, version);
}

/* ---- handles ---- */

static void uuid_of(Device device, char *uuid, size_t capacity) {
    char fallback[64];
    snprintf(fallback, sizeof fallback, "GPU-00000000-0000-0000-0000-%012d", device->index);
    gpu_text(device, "uuid", uuid, capacity, fallback);
}

static Result open_device(int index, Device *device) {
    *device = (Device)&devices[index];
    (*device)->is_open = 1;
    return (Result)gpu_number(*device, "error.nvmlDeviceGetHandleByIndex", 0);
}

EXPORT Result nvmlDeviceGetCount_v2(uint *count) {
    ENTER_SYSTEM();
    REQUIRE(count);
    *count = (uint)gpu_count();
    return SUCCESS;
}

EXPORT Result nvmlDeviceGetCount(uint *count) { return nvmlDeviceGetCount_v2(count); }

EXPORT Result nvmlDeviceGetHandleByIndex_v2(uint index, Device *device) {
    ENTER_SYSTEM();
    return index < (uint)gpu_count() ? open_device((int)index, device) : INVALID_ARGUMENT;
}

EXPORT Result nvmlDeviceGetHandleByIndex(uint index, Device *device) {
    return nvmlDeviceGetHandleByIndex_v2(index, device);
}

/* ---- figures of one GPU ---- */

EXPORT Result nvmlDeviceGetName(Device device, char *text, uint capacity) {
    ENTER_GPU(device);
    char name[96];
    gpu_text(device, "name", name, sizeof name, "NVIDIA Stub GPU");
    return copy_text(text, capacity, name);
}

EXPORT Result nvmlDeviceGetUUID(Device device, char *text, uint capacity) {
    ENTER_GPU(device);
    char uuid[96];
    uuid_of(device, uuid, sizeof uuid);
    return copy_text(text, capacity, uuid);
}

EXPORT Result nvmlDeviceGetUtilizationRates(Device device, Utilization *rates) {
    ENTER_GPU(device);
    rates->gpu = (uint)gpu_number(device, "util", 0);
    rates->memory = (uint)gpu_number(device, "memutil", 0);
    return SUCCESS;
}

EXPORT Result nvmlDeviceGetTemperature(Device device, int sensor, uint *celsius) {
    ENTER_GPU(device);
    if (sensor) return INVALID_ARGUMENT;
    *celsius = (uint)gpu_number(device, "temp", 40);
    return SUCCESS;
}

EXPORT Result nvmlDeviceGetTemperatureV(Device device, TemperatureV1 *temperature) {
    ENTER_GPU(device);
    if (gpu_number(device, "no_v", 0)) return FUNCTION_NOT_FOUND;
    if (temperature->version != (sizeof(TemperatureV1) | 1u << 24)) return ARGUMENT_VERSION_MISMATCH;
    if (temperature->sensor) return INVALID_ARGUMENT;
    temperature->celsius = (int)gpu_number(device, "temp", 40);
    return SUCCESS;
}

EXPORT Result nvmlDeviceGetPowerUsage(Device device, uint *milliwatts) {
    ENTER_GPU(device);
    *milliwatts = (uint)gpu_number(device, "power_mw", 30000);
    return SUCCESS;
}

EXPORT Result nvmlDeviceGetEnforcedPowerLimit(Device device, uint *milliwatts) {
    ENTER_GPU(device);
    *milliwatts = (uint)gpu_number(device, "limit_mw", 450000);
    return SUCCESS;
}

/* ---- details: only what the state file names ---- */

static Result named(Device device, const char *name, uint *value) {
    REQUIRE(value);
    long long found = gpu_number(device, name, -1);
    if (found < 0) return NOT_SUPPORTED;
    *value = (uint)found;
    return SUCCESS;
}

static Result named_wide(Device device, const char *name, ulonglong *value) {
    REQUIRE(value);
    long long found = gpu_number(device, name, -1);
    if (found < 0) return NOT_SUPPORTED;
    *value = (ulonglong)found;
    return SUCCESS;
}

EXPORT Result nvmlDeviceGetClockInfo(Device device, int type, uint *mhz) {
    ENTER_GPU(device);
    return named(device, type == 2 ? "clock_mem" : "clock_graphics", mhz);
}

EXPORT Result nvmlDeviceGetMaxClockInfo(Device device, int type, uint *mhz) {
    ENTER_GPU(device);
    return named(device, type == 2 ? "max_clock_mem" : "max_clock_graphics", mhz);
}

EXPORT Result nvmlDeviceGetCurrentClocksEventReasons(Device device, ulonglong *reasons) {
    ENTER_GPU(device);
    if (gpu_number(device, "old_reasons", 0)) return FUNCTION_NOT_FOUND;
    return named_wide(device, "clock_reasons", reasons);
}

EXPORT Result nvmlDeviceGetCurrentClocksThrottleReasons(Device device, ulonglong *reasons) {
    ENTER_GPU(device);
    return named_wide(device, "clock_reasons", reasons);
}

EXPORT Result nvmlDeviceGetEccMode(Device device, uint *current, uint *pending) {
    ENTER_GPU(device);
    Result result = named(device, "ecc", current);
    if (!result && pending) *pending = *current;
    return result;
}

EXPORT Result nvmlDeviceGetTotalEccErrors(Device device, int type, int counter, ulonglong *errors) {
    ENTER_GPU(device);
    (void)counter;
    return named_wide(device, type ? "ecc_uncorrected" : "ecc_corrected", errors);
}

EXPORT Result nvmlDeviceGetCurrPcieLinkGeneration(Device device, uint *generation) {
    ENTER_GPU(device);
    return named(device, "pcie_gen", generation);
}

EXPORT Result nvmlDeviceGetMaxPcieLinkGeneration(Device device, uint *generation) {
    ENTER_GPU(device);
    return named(device, "max_pcie_gen", generation);
}

EXPORT Result nvmlDeviceGetCurrPcieLinkWidth(Device device, uint *width) {
    ENTER_GPU(device);
    return named(device, "pcie_width", width);
}

EXPORT Result nvmlDeviceGetMaxPcieLinkWidth(Device device, uint *width) {
    ENTER_GPU(device);
    return named(device, "max_pcie_width", width);
}

EXPORT Result nvmlDeviceGetComputeMode(Device device, uint *mode) {
    ENTER_GPU(device);
    return named(device, "compute_mode", mode);
}

EXPORT Result nvmlDeviceGetMigMode(Device device, uint *current, uint *pending) {
    ENTER_GPU(device);
    Result result = named(device, "mig", current);
    if (!result && pending) *pending = *current;
    return result;
}

EXPORT Result nvmlDeviceGetMaxMigDeviceCount(Device device, uint *count) {
    ENTER_GPU(device);
    return named(device, "mig_most", count);
}

EXPORT Result nvmlDeviceGetMigDeviceHandleByIndex(Device device, uint index, Device *part) {
    ENTER_GPU(device);
    REQUIRE(part);
    if (device->index >= MAX_GPUS || index >= MAX_PARTS) return INVALID_ARGUMENT;
    *part = (Device)&devices[MAX_GPUS + device->index * MAX_PARTS + (int)index];
    (*part)->is_open = 1;
    char uuid[96];
    gpu_text(*part, "uuid", uuid, sizeof uuid, "");
    return *uuid ? SUCCESS : NOT_FOUND;
}

/* ---- what other programs ask for, that this one measures itself against ---- */

EXPORT Result nvmlDeviceGetIndex(Device device, uint *index) {
    ENTER_GPU(device);
    REQUIRE(index);
    *index = (uint)device->index;
    return SUCCESS;
}

EXPORT Result nvmlDeviceGetFanSpeed(Device device, uint *percent) {
    ENTER_GPU(device);
    return named(device, "fan", percent);
}

EXPORT Result nvmlDeviceGetEncoderUtilization(Device device, uint *percent, uint *period) {
    ENTER_GPU(device);
    if (period) *period = 0;
    return named(device, "encoder", percent);
}

EXPORT Result nvmlDeviceGetDecoderUtilization(Device device, uint *percent, uint *period) {
    ENTER_GPU(device);
    if (period) *period = 0;
    return named(device, "decoder", percent);
}
