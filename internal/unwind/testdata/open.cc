#include <sys/mman.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace pool {

template <typename T> class Connections {
public:
	__attribute__((noinline)) int open(const T &name) {
		return memfd_create(name.c_str(), 0) + static_cast<int>(names.size());
	}

private:
	std::vector<T> names;
};

} // namespace pool

__attribute__((noinline)) static int in_handler(pool::Connections<std::string> &pool) {
	try {
		throw std::runtime_error("caught");
	} catch (const std::exception &e) {
		return pool.open(e.what()); // while handled
	}
}

int main() {
	pool::Connections<std::string> pool;
	auto call = [&](int n) __attribute__((noinline)) { 
		return in_handler(pool) + n; // by name
	};
	return call(1) < 0;
}
