// Fibers, the order in which they run, and what the threads of a block do together. The thread sanitizer must not see
// this file: switching stacks and waking threads are no accesses of the kernel.
#include "cuda_on_cpu/scheduler.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <pthread.h>
#include <string>
#include <sys/mman.h>
#include <utility>
#include <vector>

#include "cuda_on_cpu/sanitizers.hpp"

namespace cuda_on_cpu {

// CUDA's built-in variables. Its header declares them constant, as they are for the thread that reads them.
uint3 thread_index __asm__("threadIdx"), block_index __asm__("blockIdx");
dim3 block_size __asm__("blockDim"), grid_size __asm__("gridDim");
int lanes_of_a_warp __asm__("warpSize") = warp_size;
int current_lane = 0;

#if defined(__x86_64__)
// Saves the registers that the calling convention keeps, exchanges the stacks, and returns on the other one.
extern "C" void cuda_on_cpu_switch(void** left, void* entered);
__asm__(R"(
.text
.type cuda_on_cpu_switch, @function
cuda_on_cpu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cuda_on_cpu_switch, . - cuda_on_cpu_switch
)");
#else
#error "CUDA on the CPU switches between stacks by a few instructions, which are written only for x86-64"
#endif
extern "C" void cuda_on_cpu_fiber();

namespace {

constexpr std::size_t page = 4096, stack_bytes = (sanitizers::address ? 256 : 64) * 1024;
/// Bytes behind shared memory that no kernel may write; the address sanitizer has its own.
constexpr std::size_t guard_bytes = sanitizers::address ? 0 : 64;

/// A stack, and where its execution stopped.
struct fiber {
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  std::size_t bytes = 0;
  void* of_address_sanitizer = nullptr;
  void* of_thread_sanitizer = nullptr;
};

struct warp;

struct asynchronous_copy {
  void* shared;
  const void* global;
  void (*copy)(void*, const void*);
  int group;
};

struct cuda_thread {
  uint3 index{};
  int number = 0, lane = 0;
  warp* own = nullptr;
  fiber* on = nullptr;  ///< from its first run until it returns
  enum { ready, at_barrier, in_warp, returned } state = ready;
  place at;
  std::vector<asynchronous_copy> copies;
  int copy_groups = 0;
};

/// An operation at which lanes of a warp meet: first they arrive, then they read the others' values.
struct meeting {
  unsigned mask = 0, arrived = 0, reading = 0;
  const char* name = "";
  place at;
  alignas(16) unsigned char values[warp_size][32];
};

struct warp {
  int number = 0;
  unsigned alive = 0;
  // Lanes that can run, first in, first out.
  cuda_thread* ready[warp_size];
  unsigned first = 0, count = 0;
  std::vector<std::unique_ptr<meeting>> meetings;
};

struct shared_array {
  const void* key;
  std::size_t bytes;
  unsigned char* memory;
};

bool same(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }
bool same(const place& a, const place& b) { return a.line == b.line && same(a.file, b.file); }
std::string text(const char* words) { return words; }
template <class Number>
requires std::is_integral_v<Number> std::string text(Number number) { return std::to_string(number); }
std::string text(const place& at) { return std::string(at.file) + ":" + std::to_string(at.line); }
std::string text(const uint3& index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}
unsigned bit(int lane) { return 1u << lane; }
void copy_value(void* to, const void* from, std::size_t bytes) {
  if (bytes == sizeof(float))  // the usual case, without a call
    std::memcpy(to, from, sizeof(float));
  else if (bytes > 0)
    std::memcpy(to, from, bytes);
}

/// One for the process: it holds the state of one block.
class scheduler {
 public:
  void set(order own, std::uint64_t seed) {
    order_ = own;
    random_state_ = seed * 0x9e3779b97f4a7c15u | 1u;
  }
  void set(landing own) { landing_ = own; }
  std::size_t choose(std::size_t count) {
    return order_ == order::forward ? 0 : order_ == order::reverse ? count - 1 : random() % count;
  }

  void run(dim3 blocks, dim3 threads, std::size_t dynamic_bytes, const std::function<void()>& body);
  void live_on_fiber();

  barrier_result wait_for_block(bool predicate, const place& at);
  meeting& meet(unsigned mask, const void* value, std::size_t bytes, const char* name, const place& at);
  void leave(meeting& own) {
    own.reading &= ~bit(running_->lane);
    if (own.reading == 0) own.arrived = 0;
  }

  void* static_shared(const void* key, std::size_t bytes, std::size_t alignment);
  void* dynamic_shared() { return shared_.front().memory; }

  void check_alignment(const void* address, std::size_t bytes, const place& at) {
    if (reinterpret_cast<std::uintptr_t>(address) % bytes == 0) return;
    const sanitizers::unseen unseen;
    fail("thread ", running_->number, " at ", at, " uses ", bytes,
         " bytes at once whose address is not a multiple of that");
  }

  void start_copy(const asynchronous_copy& copy) {
    if (landing_ == landing::early) return copy.copy(copy.shared, copy.global);
    const sanitizers::unseen unseen;
    running_->copies.push_back(copy);
    running_->copies.back().group = running_->copy_groups;
  }
  void commit_copies() { ++running_->copy_groups; }
  void wait_for_copies(int keep) {
    auto& copies = running_->copies;
    std::size_t done = 0;
    for (; done < copies.size() && copies[done].group < running_->copy_groups - keep; ++done)
      copies[done].copy(copies[done].shared, copies[done].global);
    const sanitizers::unseen unseen;
    copies.erase(copies.begin(), copies.begin() + static_cast<std::ptrdiff_t>(done));
  }

 private:
  std::uint64_t random() {
    random_state_ ^= random_state_ << 13;
    random_state_ ^= random_state_ >> 7;
    random_state_ ^= random_state_ << 17;
    return random_state_ >> 8;
  }

  void run_block(std::uint64_t number);
  void add_shared(const void* key, std::size_t bytes, std::size_t alignment);
  void fill_shared(const shared_array& own) { std::memset(own.memory, 0xff, own.bytes + guard_bytes); }
  void look_for_overruns();
  void forget_shared();

  void make_ready(cuda_thread& thread);
  void make_ready(cuda_thread** threads, std::size_t count);
  cuda_thread* next();
  void take_turn(cuda_thread& thread);
  void jump(fiber& from, fiber& to);
  void switch_to(fiber& from, cuda_thread* to);
  void suspend();
  void finish(cuda_thread& thread);
  void open_barrier();
  void complete(meeting& own, const cuda_thread* but);
  /// Ends the block. Destructors on its threads' stacks do not run, so threads must not own anything.
  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) {
    ((error_ += text(parts)), ...);
    jump(*running_->on, main_);
    std::abort();  // never reached
  }

  fiber& new_fiber();
  void start_anew(fiber& own);

  order order_ = order::forward;
  landing landing_ = landing::late;
  std::uint64_t random_state_ = 1;

  // The grid.
  dim3 blocks_;
  const std::function<void()>* body_ = nullptr;
  std::string error_;
  std::vector<shared_array> shared_;  ///< the dynamic one first
  std::size_t static_bytes_ = 0;

  // The block.
  int count_ = 0;  ///< threads
  std::vector<cuda_thread> threads_ = std::vector<cuda_thread>(most_threads);
  warp warps_[most_threads / warp_size];
  unsigned ready_warps_ = 0;  ///< a bit for each
  int turn_ = 0;              ///< the warp whose lanes run
  cuda_thread* running_ = nullptr;
  cuda_thread* woken_[most_threads];

  // The barrier. A thread may arrive at the next one before others have read the result of this one.
  int alive_ = 0, arrived_ = 0;
  unsigned opened_ = 0;
  barrier_result results_[2];
  place barrier_at_;

  fiber main_;
  std::vector<std::unique_ptr<fiber>> fibers_;
  std::vector<fiber*> idle_;
  char returned_ = 0;  ///< for the thread sanitizer: orders the threads of a block before those of the next
};

/// Never destroyed: static objects of a test may still launch kernels.
scheduler& the_scheduler() {
  static scheduler& only = *new scheduler;
  return only;
}
scheduler* executing = nullptr;  ///< the same, without a check that it exists

// Fibers ---------------------------------------------------------------------------------------------------------

fiber& scheduler::new_fiber() {
  fibers_.push_back(std::make_unique<fiber>());
  idle_.reserve(fibers_.size());
  fiber& own = *fibers_.back();
  own.bytes = stack_bytes;
  void* const memory =
      mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0)
    std::abort();  // this page stops a runaway recursion
  own.stack = static_cast<char*>(memory);
  start_anew(own);
  return own;
}

void scheduler::start_anew(fiber& own) {
  sanitizers::unpoison(own.stack + page, own.bytes - page);
  own.of_address_sanitizer = nullptr;
  own.of_thread_sanitizer = sanitizers::new_fiber();
  // Stacks that start at the same offset in a page would share a few lines of the cache.
  const std::size_t apart = reinterpret_cast<std::uintptr_t>(own.stack) / stack_bytes % 48 * 64;
  void** top = reinterpret_cast<void**>(own.stack + own.bytes - 64 - apart);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&cuda_on_cpu_fiber);
  for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
  own.stack_pointer = top;
}

void scheduler::jump(fiber& from, fiber& to) {
  sanitizers::before_switch(from.of_address_sanitizer, to.stack, to.bytes);
  sanitizers::switch_to(to.of_thread_sanitizer);
  cuda_on_cpu_switch(&from.stack_pointer, to.stack_pointer);
  sanitizers::after_switch(from.of_address_sanitizer);
}

void scheduler::take_turn(cuda_thread& thread) {
  running_ = &thread;
  thread_index = thread.index;
  current_lane = thread.lane;
}

/// Goes on with `to`, or with run_block where no thread can run.
void scheduler::switch_to(fiber& from, cuda_thread* to) {
  if (to == nullptr) return jump(from, main_);
  if (to->on == nullptr) {
    if constexpr (sanitizers::thread) {  // it would report a race of two threads on one stack
      while (fibers_.size() <= static_cast<std::size_t>(to->number)) new_fiber();
      to->on = fibers_[static_cast<std::size_t>(to->number)].get();
    } else if (idle_.empty()) {
      to->on = &new_fiber();
    } else {
      to->on = idle_.back();
      idle_.pop_back();
    }
  }
  take_turn(*to);
  jump(from, *to->on);
}

void scheduler::live_on_fiber() {
  sanitizers::after_switch(nullptr);
  for (;;) {
    sanitizers::acquire(&main_);
    (*body_)();
    sanitizers::release(&returned_);
    const sanitizers::unseen unseen;
    fiber& own = *running_->on;
    finish(*running_);
    cuda_thread* const to = next();
    // A thread that has not started gets this stack, without a switch.
    if (!sanitizers::thread && to != nullptr && to->on == nullptr) {
      to->on = &own;
      take_turn(*to);
      continue;
    }
    idle_.push_back(&own);
    switch_to(own, to);
  }
}

// Turns ----------------------------------------------------------------------------------------------------------

void scheduler::make_ready(cuda_thread& thread) {
  thread.state = cuda_thread::ready;
  warp& own = *thread.own;
  own.ready[(own.first + own.count++) % warp_size] = &thread;
  ready_warps_ |= bit(own.number);
}
void scheduler::make_ready(cuda_thread** threads, std::size_t count) {
  if (order_ == order::reverse) std::reverse(threads, threads + count);
  if (order_ == order::random)
    for (std::size_t n = count; n > 1; --n) std::swap(threads[n - 1], threads[random() % n]);
  for (std::size_t n = 0; n < count; ++n) make_ready(*threads[n]);
}

/// A warp runs as far as it can before another one does: this shows what needs a barrier.
cuda_thread* scheduler::next() {
  if (ready_warps_ == 0) return nullptr;
  if ((ready_warps_ >> turn_ & 1) == 0) {
    if (order_ == order::random) turn_ = static_cast<int>(random() % warp_size);
    const int step = order_ == order::reverse ? warp_size - 1 : 1;
    do turn_ = (turn_ + step) % warp_size;
    while ((ready_warps_ >> turn_ & 1) == 0);
  }
  warp& own = warps_[turn_];
  cuda_thread* const thread = own.ready[own.first++ % warp_size];
  if (--own.count == 0) ready_warps_ &= ~bit(turn_);
  return thread;
}

/// Returns when the running thread may run again.
void scheduler::suspend() {
  cuda_thread* const self = running_;
  cuda_thread* const to = next();
  if (to != self) switch_to(*self->on, to);
}

void scheduler::finish(cuda_thread& thread) {
  thread.state = cuda_thread::returned;
  thread.on = nullptr;
  --alive_;
  thread.own->alive &= ~bit(thread.lane);
  // Other threads do not wait for a thread that has returned.
  if (alive_ > 0 && arrived_ == alive_) open_barrier();
  for (const auto& each : thread.own->meetings)
    if (each->arrived != 0 && each->reading == 0 && each->arrived == (each->mask & thread.own->alive))
      complete(*each, nullptr);
}

// Meeting points -------------------------------------------------------------------------------------------------

barrier_result scheduler::wait_for_block(bool predicate, const place& at) {
  const sanitizers::unseen unseen;
  if (arrived_ == 0) barrier_at_ = at;
  if (!same(at, barrier_at_))
    fail("threads of a block wait at different barriers: thread ", running_->number, " at ", at, ", others at ",
         barrier_at_);
  barrier_result& result = results_[opened_ % 2];
  ++result.threads;
  result.held += predicate ? 1 : 0;
  sanitizers::release(&result);
  running_->state = cuda_thread::at_barrier;
  running_->at = at;
  if (++arrived_ == alive_) open_barrier();
  suspend();
  sanitizers::acquire(&result);
  return result;
}

void scheduler::open_barrier() {
  arrived_ = 0;
  results_[++opened_ % 2] = {};
  std::size_t count = 0;
  for (int n = 0; n < count_; ++n)
    if (threads_[static_cast<std::size_t>(n)].state == cuda_thread::at_barrier)
      woken_[count++] = &threads_[static_cast<std::size_t>(n)];
  make_ready(woken_, count);
}

meeting& scheduler::meet(unsigned mask, const void* value, std::size_t bytes, const char* name, const place& at) {
  cuda_thread& self = *running_;
  warp& own = *self.own;
  if ((mask & bit(self.lane)) == 0)
    fail(name, " at ", at, " is called by lane ", self.lane, ", which is not in its mask");
  meeting* found = nullptr;
  for (const auto& each : own.meetings) {
    const bool arriving = each->arrived != 0 && each->reading == 0;
    if (arriving && each->mask == mask) {
      found = each.get();
      break;
    }
    if (found == nullptr && each->arrived == 0) found = each.get();
  }
  if (found == nullptr) {
    own.meetings.push_back(std::make_unique<meeting>());
    found = own.meetings.back().get();
  }
  if (found->arrived == 0) {
    found->mask = mask;
    found->name = name;
    found->at = at;
  } else if (!same(found->at, at) || !same(found->name, name)) {
    fail("lanes of a warp diverge: ", name, " at ", at, " meets ", found->name, " at ", found->at);
  }
  copy_value(found->values[self.lane], value, bytes);
  found->arrived |= bit(self.lane);
  self.at = at;
  sanitizers::release(found);
  if (found->arrived != (mask & own.alive)) {
    self.state = cuda_thread::in_warp;
    suspend();
  } else if (order_ == order::forward) {  // the last lane goes on at once
    complete(*found, &self);
  } else {
    complete(*found, nullptr);
    suspend();
  }
  sanitizers::acquire(found);
  return *found;
}

/// Wakes the lanes that arrived, except `but`.
void scheduler::complete(meeting& own, const cuda_thread* but) {
  own.reading = own.arrived;
  std::size_t count = 0;
  cuda_thread* const first = &threads_[static_cast<std::size_t>(running_->number - running_->lane)];
  for (int lane = 0; lane < warp_size; ++lane)
    if ((own.arrived & bit(lane)) != 0 && first + lane != but) woken_[count++] = first + lane;
  make_ready(woken_, count);
}

// Shared memory --------------------------------------------------------------------------------------------------

void scheduler::add_shared(const void* key, std::size_t bytes, std::size_t alignment) {
  // Exactly this size, so that the address sanitizer sees an access to the next byte.
  void* memory = nullptr;
  if (posix_memalign(&memory, std::max<std::size_t>(alignment, 128), bytes + guard_bytes) != 0) std::abort();
  shared_.push_back({key, bytes, static_cast<unsigned char*>(memory)});
  fill_shared(shared_.back());
}

void* scheduler::static_shared(const void* key, std::size_t bytes, std::size_t alignment) {
  for (const shared_array& each : shared_)
    if (each.key == key) return each.memory;
  const sanitizers::unseen unseen;
  static_bytes_ += bytes;
  if (static_bytes_ > most_static_shared_bytes || static_bytes_ + shared_.front().bytes > most_shared_bytes)
    fail("a block needs ", static_bytes_, " bytes of static and ", shared_.front().bytes,
         " of dynamic shared memory, but has ", most_static_shared_bytes, ", together ", most_shared_bytes);
  add_shared(key, bytes, alignment);
  return shared_.back().memory;
}

void scheduler::look_for_overruns() {
  for (const shared_array& each : shared_)
    if (std::any_of(each.memory + each.bytes, each.memory + each.bytes + guard_bytes,
                    [](unsigned char value) { return value != 0xff; }))
      error_ = "a block wrote past the end of " + std::to_string(each.bytes) + " bytes of shared memory";
}

void scheduler::forget_shared() {
  for (const shared_array& each : shared_) std::free(each.memory);
  shared_.clear();
  static_bytes_ = 0;
}

// Grids ----------------------------------------------------------------------------------------------------------

void scheduler::run_block(std::uint64_t number) {
  block_index = {static_cast<unsigned>(number % blocks_.x), static_cast<unsigned>(number / blocks_.x % blocks_.y),
                 static_cast<unsigned>(number / blocks_.x / blocks_.y)};
  for (const shared_array& each : shared_) fill_shared(each);
  alive_ = count_;
  arrived_ = 0;
  results_[opened_ % 2] = {};
  for (int first = 0; first < count_; first += warp_size) {
    warp& own = warps_[first / warp_size];
    own.alive = count_ - first < warp_size ? bit(count_ - first) - 1 : ~0u;
    own.first = own.count = 0;
    for (const auto& each : own.meetings) each->arrived = each->reading = 0;
  }
  for (int n = 0; n < count_; ++n) {
    cuda_thread& thread = threads_[static_cast<std::size_t>(n)];
    thread.copies.clear();
    thread.copy_groups = 0;
    woken_[n] = &thread;
  }
  ready_warps_ = 0;
  make_ready(woken_, static_cast<std::size_t>(count_));
  turn_ = static_cast<int>(choose(static_cast<std::size_t>((count_ + warp_size - 1) / warp_size)));

  sanitizers::acquire(&returned_);
  sanitizers::release(&main_);
  switch_to(main_, next());
  sanitizers::acquire(&returned_);

  if (error_.empty() && alive_ > 0) {
    error_ = "deadlock:";
    // One thread for each place.
    std::vector<place> named;
    for (int n = 0; n < count_; ++n) {
      const cuda_thread& thread = threads_[static_cast<std::size_t>(n)];
      if (thread.state == cuda_thread::returned ||
          std::any_of(named.begin(), named.end(), [&](const place& each) { return same(each, thread.at); }))
        continue;
      error_ += (named.empty() ? " thread " : ", thread ") + std::to_string(n) + " waits for its " +
                (thread.state == cuda_thread::at_barrier ? "block at " : "warp at ") + text(thread.at);
      named.push_back(thread.at);
    }
  }
  if (error_.empty()) look_for_overruns();
  if (!error_.empty()) error_ += ", in block " + text(block_index) + " of " + std::to_string(count_) + " threads";
}

void scheduler::run(dim3 blocks, dim3 threads, std::size_t dynamic_bytes, const std::function<void()>& body) {
  blocks_ = grid_size = blocks;
  block_size = threads;
  count_ = static_cast<int>(threads.x * threads.y * threads.z);
  for (int n = 0; n < count_; ++n) {
    cuda_thread& thread = threads_[static_cast<std::size_t>(n)];
    const unsigned number = static_cast<unsigned>(n);
    thread.index = {number % threads.x, number / threads.x % threads.y, number / threads.x / threads.y};
    thread.number = n;
    thread.lane = n % warp_size;
    thread.own = &warps_[n / warp_size];
    thread.own->number = n / warp_size;
  }
  body_ = &body;
  error_.clear();
  forget_shared();
  add_shared(nullptr, dynamic_bytes, 128);
  main_.of_thread_sanitizer = sanitizers::current_fiber();
  if constexpr (sanitizers::address) {  // it must know the stack that fibers return to
    pthread_attr_t attributes;
    void* stack = nullptr;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &stack, &main_.bytes);
    pthread_attr_destroy(&attributes);
    main_.stack = static_cast<char*>(stack);
  }

  const std::uint64_t count = std::uint64_t{blocks.x} * blocks.y * blocks.z;
  // A step that has no divisor in common with the number of blocks visits each block once.
  std::uint64_t step = order_ == order::reverse ? count - 1 : 1, number = choose(count);
  if (order_ == order::random) do
      step = random() % count + 1;
    while (std::gcd(step, count) != 1);
  for (std::uint64_t n = 0; n < count && error_.empty(); ++n, number = (number + step) % count) run_block(number);

  forget_shared();
  if (error_.empty()) return;
  // The threads of the failed block never go on.
  for (cuda_thread& thread : threads_) thread.on = nullptr;
  idle_.clear();
  for (const auto& each : fibers_) {
    start_anew(*each);
    idle_.push_back(each.get());
  }
  throw kernel_error(error_);
}

}  // namespace

extern "C" void cuda_on_cpu_fiber() { executing->live_on_fiber(); }

void set_order(order own, std::uint64_t seed) { the_scheduler().set(own, seed); }
void set_landing(landing own) { the_scheduler().set(own); }
std::size_t choose(std::size_t count) { return the_scheduler().choose(count); }
void run_grid(dim3 blocks, dim3 threads, std::size_t dynamic_shared_bytes, const std::function<void()>& thread) {
  executing = &the_scheduler();
  executing->run(blocks, threads, dynamic_shared_bytes, thread);
}

barrier_result wait_for_block(bool predicate, place at) { return executing->wait_for_block(predicate, at); }

void exchange(unsigned mask, const void* value, void* result, std::size_t bytes, int source, const char* name,
              place at) {
  const sanitizers::unseen unseen;
  meeting& own = executing->meet(mask, value, bytes, name, at);
  const int lane = source & (warp_size - 1);
  if ((own.arrived & bit(lane)) != 0)
    copy_value(result, own.values[lane], bytes);
  else if (bytes > 0)
    std::memset(result, 0xff, bytes);
  executing->leave(own);
}
void gather(unsigned mask, const void* value, void* results, std::size_t bytes, const char* name, place at) {
  const sanitizers::unseen unseen;
  meeting& own = executing->meet(mask, value, bytes, name, at);
  for (std::size_t lane = 0; lane < warp_size; ++lane)
    std::memcpy(static_cast<unsigned char*>(results) + lane * bytes, own.values[lane], bytes);
  executing->leave(own);
}
unsigned vote(unsigned mask, bool predicate, const char* name, place at) {
  const sanitizers::unseen unseen;
  meeting& own = executing->meet(mask, &predicate, sizeof predicate, name, at);
  unsigned lanes = 0;
  for (int lane = 0; lane < warp_size; ++lane)
    if ((own.arrived & bit(lane)) != 0 && own.values[lane][0] != 0) lanes |= bit(lane);
  executing->leave(own);
  return lanes;
}

void* static_shared(const void* key, std::size_t bytes, std::size_t alignment) {
  return executing->static_shared(key, bytes, alignment);
}
void* dynamic_shared() { return executing->dynamic_shared(); }

namespace {
struct {
  std::uintptr_t begin = 0;
  std::size_t bytes = 0, accesses = 0;
} watched;
}  // namespace

void note_wide_access(const void* address, std::size_t bytes, place at) {
  executing->check_alignment(address, bytes, at);
  if (reinterpret_cast<std::uintptr_t>(address) - watched.begin < watched.bytes) ++watched.accesses;
}
void watch_wide_accesses(const void* begin, std::size_t bytes) {
  watched = {reinterpret_cast<std::uintptr_t>(begin), bytes, 0};
}
std::size_t wide_accesses() { return watched.accesses; }

void start_copy(void* shared, const void* global, void (*copy)(void*, const void*)) {
  executing->start_copy({shared, global, copy, 0});
}
void commit_copies() { executing->commit_copies(); }
void wait_for_copies(int keep) { executing->wait_for_copies(keep); }

}  // namespace cuda_on_cpu
