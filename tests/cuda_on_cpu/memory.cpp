#include "cuda_on_cpu/memory.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <sys/mman.h>

#include "cuda_on_cpu/sanitizers.hpp"

namespace cuda_on_cpu {
namespace {

// Large pages, because opening and closing memory takes time for each page.
constexpr std::size_t page = std::size_t{2} << 20, alignment = 256;
/// Bytes 0xff around every allocation.
constexpr std::size_t guard = alignment;

std::size_t round_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }
/// What a device with small pages would use.
std::size_t taken(std::size_t bytes) { return round_up(std::max<std::size_t>(bytes, 1), alignment); }

bool is_untouched(const char* begin, std::size_t bytes) {
  static const auto untouched = [] {
    std::array<char, guard + alignment> all;
    all.fill('\xff');
    return all;
  }();
  return std::memcmp(begin, untouched.data(), bytes) == 0;
}

}  // namespace

std::size_t device_memory::first_page(const char* begin) const { return (offset(begin) - guard) / page; }
std::size_t device_memory::end_page(const char* begin, std::size_t bytes) const {
  return (offset(begin) + taken(bytes) + guard + page - 1) / page;
}

device_memory::device_memory() : nothing_(memfd_create("nothing", 0)) {
  void* const range = mmap(nullptr, arena_bytes + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) std::abort();
  arena_ = static_cast<char*>(range) + (page - reinterpret_cast<std::uintptr_t>(range) % page) % page;
}

void* device_memory::allocate(std::size_t bytes) {
  if (bytes > arena_bytes || used_ + taken(bytes) > limit) return nullptr;
  const std::size_t first = top_ + guard, top = first + taken(bytes) + guard;
  if (top > arena_bytes) return nullptr;
  if (top > mapped_) {
    const std::size_t more = round_up(top - mapped_, page);
    char* const begin = arena_ + mapped_;
    if (mprotect(begin, more, PROT_READ | PROT_WRITE) != 0) return nullptr;
    madvise(begin, more, MADV_HUGEPAGE);
    std::memset(begin, 0xff, more);
    sanitizers::poison(begin, more);
    if (opened_ == 0) mprotect(begin, more, PROT_NONE);
    mapped_ += more;
  }
  char* const begin = arena_ + first;
  sanitizers::unpoison(begin, bytes);
  top_ = top;
  used_ += taken(bytes);
  live_[begin] = bytes;
  living_.resize(mapped_ / page);
  for (std::size_t n = first_page(begin); n < end_page(begin, bytes); ++n) ++living_[n];
  return begin;
}

/// Empty pages go back to the system and cannot be touched any more; other freed memory becomes 0xff.
void device_memory::forget(char* begin, std::size_t bytes) {
  used_ -= taken(bytes);
  const open now(*this);
  sanitizers::unpoison(begin, bytes);
  char* const end = begin + bytes;
  for (std::size_t n = first_page(begin); n < end_page(begin, bytes); ++n) {
    char* const own = arena_ + n * page;
    char *const from = std::clamp(begin, own, own + page), *const to = std::clamp(end, own, own + page);
    if (--living_[n] > 0 || (n + 1) * page > top_)
      std::memset(from, 0xff, static_cast<std::size_t>(to - from));
    else
      mmap(own, page, PROT_NONE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, nothing_, static_cast<off_t>(n * page));
  }
  sanitizers::poison(begin, bytes);
}
bool device_memory::free(void* begin) {
  const auto found = live_.find(static_cast<char*>(begin));
  if (found == live_.end()) return false;
  forget(found->first, found->second);
  live_.erase(found);
  return true;
}
void device_memory::free_all() {
  for (const auto& [begin, bytes] : live_) forget(begin, bytes);
  live_.clear();
}

bool device_memory::is_allocated(const void* begin, std::size_t bytes) const {
  if (!is_device(begin)) return false;
  const auto found = live_.upper_bound(arena_ + offset(begin));
  if (found == live_.begin()) return false;
  const auto& [first, size] = *std::prev(found);
  const std::size_t skipped = offset(begin) - offset(first);
  return skipped <= size && bytes <= size - skipped;
}

std::string device_memory::damage() const {
  if (sanitizers::address) return "";  // it sees the access itself
  for (const auto& [begin, bytes] : live_) {
    const bool before = !is_untouched(begin - guard, guard);
    if (before || !is_untouched(begin + bytes, taken(bytes) - bytes + guard))
      return std::string(before ? "the begin" : "the end") + " of an allocation of " + std::to_string(bytes) +
             " bytes of device memory was passed by a write";
  }
  return "";
}

void device_memory::set_open(bool yes) {
  opened_ += yes ? 1 : -1;
  if (opened_ == (yes ? 1 : 0) && mapped_ > 0) mprotect(arena_, mapped_, yes ? PROT_READ | PROT_WRITE : PROT_NONE);
}

}  // namespace cuda_on_cpu
