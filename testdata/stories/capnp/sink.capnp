@0xb7c1f5d0a9e34c21;

interface Sink {
  put @0 (data :Data);
}
