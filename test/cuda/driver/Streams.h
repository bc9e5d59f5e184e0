// SPDX-License-Identifier: Apache-2.0
// Queues of work that runs late: nothing runs before somebody waits for it, and then in a random order that streams,
// events and the default stream allow. Capture of streams into graphs, and launches of these.

#ifndef MORPH_TEST_CUDA_DRIVER_STREAMS_H
#define MORPH_TEST_CUDA_DRIVER_STREAMS_H

#include "test/cuda/driver/Random.h"

#include <cuda.h>

#include <chrono>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace morph::standin {

/// Whether a piece of work has ended, and when.
struct Completion {
  bool isDone = false;
  std::chrono::steady_clock::time_point time;
};

/// A piece of work. It may run more than once: nodes of graphs do.
struct Work {
  std::function<void()> run;
  bool isHostFunction = false; ///< The program may wait for it without a call of the driver.
  bool isUnlocked = false;     ///< Runs without the driver's lock.
};

struct Graph {
  struct Node {
    Work work;
    std::vector<size_t> after;
  };
  std::vector<Node> nodes;
};

/// A capture that began at one stream and that others may have joined.
struct Capture {
  std::shared_ptr<Graph> graph = std::make_shared<Graph>();
  bool isInvalid = false;
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  std::thread::id thread;
};

struct Stream {
  struct Item {
    Work work;
    std::shared_ptr<Completion> completion;
    std::vector<std::shared_ptr<Completion>> after;
  };
  bool isBlocking = true; ///< Ordered with the default stream.
  bool isDefault = false;
  int priority = 0;
  unsigned flags = 0;
  bool isRunning = false; ///< Its first item is a host function that runs now.
  std::deque<Item> items;
  std::shared_ptr<Completion> last; ///< Of the newest item, null where there was none.
  std::shared_ptr<Capture> capture;
  bool isOrigin = false;        ///< Where the capture began.
  std::vector<size_t> frontier; ///< Capture: the nodes that the next one comes after.
};

struct Event {
  bool hasTiming = true;
  std::shared_ptr<Completion> completion; ///< Null: never recorded.
  std::shared_ptr<Capture> capture;       ///< Recorded in a capture.
  std::vector<size_t> nodes;
};

/// All streams of the context. The caller holds the driver's lock.
class Streams {
public:
  Streams(uint64_t seed, std::mutex &lock) : random(seed ^ 0x5eedull), lock(lock) {
    standard = create(CU_STREAM_DEFAULT, 0);
    standard->isDefault = true;
  }

  Stream *create(unsigned flags, int priority);
  /// What is queued still runs.
  void destroy(Stream *stream);
  bool isKnown(const Stream *stream) const;
  Stream *defaultStream() const { return standard; }

  /// Queues work, or adds a node to the stream's capture.
  CUresult enqueue(Stream *stream, Work work);
  CUresult record(Event &event, Stream *stream);
  CUresult wait(Stream *stream, const Event &event);

  CUresult beginCapture(Stream *stream, CUstreamCaptureMode mode);
  CUresult endCapture(Stream *stream, std::shared_ptr<Graph> &graph);
  /// Whether a capture forbids what is not safe in one, by the calling thread; it is invalid from then on.
  bool forbidsUnsafe();
  /// Invalidates the capture of a stream that is waited for.
  void invalidate(Stream *stream);
  CUresult launch(Stream *stream, std::shared_ptr<const Graph> graph);

  /// Runs work until `isMet`.
  void runUntil(const std::function<bool()> &isMet);
  void runAll();
  /// Perhaps a piece of work, as a query gives the device time.
  void runSome();
  /// Whether a host function is queued, outside graphs.
  bool hasHostFunctions() const;
  /// One piece of work that can run; false where there is none.
  bool step();

private:
  void runNodes(const Graph &graph);
  void runWork(const Work &work);

  Random random;
  std::mutex &lock;
  std::list<std::unique_ptr<Stream>> streams;
  std::list<std::unique_ptr<Stream>> orphans; ///< Destroyed with work left.
  Stream *standard = nullptr;
  Stream *favourite = nullptr;
  std::vector<std::shared_ptr<Capture>> captures;
};

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_STREAMS_H
