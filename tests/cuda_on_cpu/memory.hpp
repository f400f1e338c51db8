// Device memory: a range of addresses that the host cannot touch. Every allocation starts as bytes 0xff (NaNs), with
// some more around it. Freed memory cannot be touched either, and its addresses are never used again.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace cuda_on_cpu {

class device_memory {
 public:
  device_memory();

  /// Null where the limit does not allow it.
  void* allocate(std::size_t bytes);
  /// Whether something was allocated there.
  bool free(void* begin);
  void free_all();

  bool is_device(const void* address) const { return address >= arena_ && address < arena_ + arena_bytes; }
  /// Whether the bytes lie in one allocation.
  bool is_allocated(const void* begin, std::size_t bytes) const;
  /// Describes an allocation around which something was written, if there is one. Only while memory is open.
  std::string damage() const;

  std::size_t count() const { return live_.size(); }
  std::size_t used() const { return used_; }
  std::size_t limit = std::size_t{4} << 30;

  /// While one lives, device work runs and can touch device memory.
  class open {
   public:
    explicit open(device_memory& own) : own_(own) { own_.set_open(true); }
    open(const open&) = delete;
    open& operator=(const open&) = delete;
    ~open() { own_.set_open(false); }

   private:
    device_memory& own_;
  };

 private:
  static constexpr std::size_t arena_bytes = std::size_t{64} << 30;

  void set_open(bool yes);
  void forget(char* begin, std::size_t bytes);
  std::size_t offset(const void* address) const {
    return static_cast<std::size_t>(static_cast<const char*>(address) - arena_);
  }

  // The pages of an allocation and its guard bytes.
  std::size_t first_page(const char* begin) const;
  std::size_t end_page(const char* begin, std::size_t bytes) const;

  char* arena_ = nullptr;
  int nothing_ = -1;  ///< an empty file: touching a page mapped to it fails, whatever the protection
  std::size_t top_ = 0, mapped_ = 0, used_ = 0;
  int opened_ = 0;
  std::map<char*, std::size_t> live_;
  std::vector<unsigned> living_;  ///< allocations on each page
};

}  // namespace cuda_on_cpu
